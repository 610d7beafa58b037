"""The cost of scores in network evaluations (number of function evaluations, NFE)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zsd_ray.records.scores import WorkItem


@dataclass(frozen=True)
class Cost:
    """Cost of scores in network evaluations.

    per_score: cost of one score. per_draw: further cost per draw of an item, such as a
        normaliser's.
    whole: all classes of a draw are scored together; an item is not cut within one.
    slack: upper limit on actual cost / this cost, where this is an estimate.
    """

    per_score: int = 1
    per_draw: int = 0
    whole: bool = False
    slack: int = 1

    @property
    def least(self) -> int:
        """Return the cost of a single score."""
        return self.per_score + self.per_draw

    def of_race(self, n_scores: int, n_draws: int) -> int:
        """Return the cost of all scores of an image over `n_draws` draws."""
        return n_scores * self.per_score + n_draws * self.per_draw

    def of_draw(self, n_classes: int) -> int:
        """Return the cost of one draw for `n_classes` classes."""
        return n_classes * self.per_score + self.per_draw

    def of_item(self, item: WorkItem) -> int:
        """Return the cost of a work item."""
        return item.n_draws * (len(item.classes) * self.per_score + self.per_draw)

    def of(self, items: Iterable[WorkItem]) -> int:
        """Return the cost of several work items."""
        return sum([self.of_item(item) for item in items])


ONE_EACH = Cost()


@dataclass(frozen=True)
class RunSize:
    """The properties of a run that the cost of a method depends on, beside its own keys.

    n_classes: classes of the run; n_racing: most classes in an image's race; n_templates: prompts
        per class.
    """

    n_classes: int
    n_racing: int
    n_templates: int
