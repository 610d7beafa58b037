"""The interface of pruning rules: configuration keys, and looks at the classes of an image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from zsd_ray.settings.section import Section


@dataclass(frozen=True)
class Verdict:
    """The decision of a look at the scores.

    n_draws: the draws that it used.
    keep: (K,) bool, which classes stay; at least one does.
    stop_reason: why the image is decided now, or None to continue drawing.
    ranking: (K,) the first, second, ... class, if the ranking is not by mean scores; only of a
        look that stops and keeps all.
    """

    n_draws: int
    keep: NDArray[np.bool_]
    stop_reason: str | None
    ranking: NDArray[np.intp] | None = None


class Rule(Protocol):
    """Successive elimination of one image's classes. Stateless: one object serves all images."""

    max_draws: int
    """No image is given more draws than this."""

    def next_look(self, n_draws: int) -> int:
        """Return after how many draws to look next; the last look was at `n_draws` (0: none)."""

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        """Look at K surviving classes, lower is better, paired by draw.

        The last look was at `seen` draws; N is at least next_look(seen). If N is enough for several
        looks, take the looks in order, up to the first that removes a class or stops. A look must
        not depend on draws that come after it.
        """


class Pruning(Section):
    """A `pruning` section: the keys of one rule, selected by `rule`.

    Attributes:
        first_look_key: the key that sets the first look; None: other keys fix it.
        gone: keys of earlier versions, with the values that they still have in identities.
    """

    first_look_key: ClassVar[str | None] = None
    gone: ClassVar[Mapping[str, Any]] = {}

    rule: str

    @property
    @abstractmethod
    def most_draws(self) -> int:
        """The largest number of draws of an image."""

    @property
    def first_look(self) -> int:
        """The number of draws before the first look."""
        return self.make(2).next_look(0)

    @abstractmethod
    def make(self, n_classes: int) -> Rule:
        """Return the rule for images with `n_classes` classes in the race."""

    def not_before(self, n_draws: int) -> Self:
        """Return this section with its first look after `n_draws` or more.

        Raises:
            ValueError: its own keys set a look or the end before that.
        """
        if self.first_look >= n_draws:
            return self
        if self.first_look_key is None or n_draws > self.most_draws:
            raise ValueError(
                f"needs {n_draws} draws of every class, and pruning ends or looks before"
            )
        return self.model_copy(update={self.first_look_key: n_draws})
