"""The successive elimination of one image's classes, fed with scores in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from zsd_ray.spec.records import ItemScores, RawDraw, WorkItem
from zsd_ray.stats.rules import Rule

_T, _ALPHA, _SIGMA, _WEIGHT = range(4)


@dataclass(frozen=True)
class Outcome:
    """The end of one image; every list is in class order."""

    ranking: tuple[int, ...]
    mean_scores: tuple[float, ...]
    draws_per_class: tuple[int, ...]
    n_draws: int
    stop_reason: str
    raw: tuple[RawDraw, ...]

    @property
    def n_scores(self) -> int:
        return sum(self.draws_per_class)


class Elimination:
    """Holds the errors of the surviving classes and applies the rule whenever draws are complete.

    Scores may come late, twice, split by class or ahead of the next look; the rule sees complete
    draws only, in order, so the outcome does not depend on how the work was cut.

    Attributes:
        survivors: class numbers still in the race, ascending.
        n_draws: draws that the rule has seen.
        target: draws after which it looks next.
        outcome: None until the image is decided.
    """

    def __init__(self, rule: Rule, n_classes: int, keep_raw: bool) -> None:
        self._rule = rule
        self._keep_raw = keep_raw
        self._raw: list[RawDraw] = []
        self.survivors = np.arange(n_classes)
        self.n_draws = 0
        self.target = rule.next_look(0)
        self.outcome: Outcome | None = None
        self._means = np.zeros(n_classes)
        self._draws = np.zeros(n_classes, dtype=np.int64)
        self._column = np.arange(n_classes)  # of each class in _errors; -1 once removed
        self._errors = np.full((self.target, n_classes), np.nan, dtype=np.float32)
        self._table = np.zeros((self.target, 4))  # t, alpha, sigma, weight of each draw
        self._missing = self.target * n_classes  # cells before target that are not in yet

    def add(self, item: WorkItem, scores: ItemScores) -> None:
        """Take the scores of `item`; what is known already or no longer needed is ignored."""
        if self.outcome is not None:
            return
        end = item.first_draw + item.n_draws
        self._reserve(end)
        rows = slice(item.first_draw, end)
        columns = self._column[list(item.classes)]
        alive = columns >= 0
        cells = np.ix_(np.arange(item.first_draw, end), columns[alive])
        new = np.isnan(self._errors[cells])
        self._errors[cells] = np.where(new, scores.errors[:, alive], self._errors[cells])
        self._table[rows] = np.stack([scores.t, scores.alpha, scores.sigma, scores.weight], axis=1)
        self._missing -= int(new[: max(0, self.target - item.first_draw)].sum())
        while self._missing == 0 and self.outcome is None:
            self._look()

    def is_needed(self, draw: int, class_: int) -> bool:
        """Whether the rule may still want this cell, and does not have it."""
        column = self._column[class_]
        if self.outcome is not None or column < 0:
            return False
        return draw >= len(self._errors) or bool(np.isnan(self._errors[draw, column]))

    @property
    def missing(self) -> int:
        """Cells that the next look waits for."""
        return self._missing

    def _look(self) -> None:
        if self._keep_raw:
            self._raw += [self._raw_draw(draw) for draw in range(self.n_draws, self.target)]
        self.n_draws = self.target
        seen = slice(0, self.n_draws)
        scores = self._table[seen, _WEIGHT, None] * self._errors[seen]
        verdict = self._rule.look(scores)
        self._means[self.survivors] = scores.mean(axis=0)
        self._draws[self.survivors] = self.n_draws
        if not verdict.keep.all():
            self.survivors = self.survivors[verdict.keep]
            # One memory layout, whatever the history: numpy's sums depend on it in the last bit.
            self._errors = np.ascontiguousarray(self._errors[:, verdict.keep])
            self._column[:] = -1
            self._column[self.survivors] = np.arange(len(self.survivors))
        if verdict.stop_reason is not None:
            self.outcome = self._close(verdict.stop_reason)
            return
        self.target = self._rule.next_look(self.n_draws)
        self._reserve(self.target)
        self._missing = int(np.isnan(self._errors[self.n_draws : self.target]).sum())

    def _close(self, stop_reason: str) -> Outcome:
        # Those that lasted longest first, then the least mean, then the class number.
        ranking = np.lexsort((self._means, -self._draws))
        return Outcome(
            ranking=_ints(ranking),
            mean_scores=tuple(self._means.tolist()),
            draws_per_class=_ints(self._draws),
            n_draws=self.n_draws,
            stop_reason=stop_reason,
            raw=tuple(self._raw),
        )

    def _raw_draw(self, draw: int) -> RawDraw:
        t, alpha, sigma, weight = self._table[draw].tolist()
        errors = tuple(self._errors[draw].tolist())
        return RawDraw(draw, t, alpha, sigma, weight, _ints(self.survivors), errors)

    def _reserve(self, n_draws: int) -> None:
        have = len(self._errors)
        if n_draws <= have:
            return
        more = max(n_draws, 2 * have) - have
        blank = np.full((more, self._errors.shape[1]), np.nan, dtype=np.float32)
        self._errors = np.concatenate([self._errors, blank])
        self._table = np.concatenate([self._table, np.zeros((more, 4))])


def _ints(array: NDArray[np.int64]) -> tuple[int, ...]:
    return cast(tuple[int, ...], tuple(array.tolist()))
