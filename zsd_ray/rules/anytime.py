"""Elimination with a guarantee: the best class is removed with probability at most alpha."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsd_ray.rules.gaps import Gaps
from zsd_ray.rules.looks import Looks
from zsd_ray.rules.mixture import log_evidence
from zsd_ray.rules.rule import Rule
from zsd_ray.rules.sequential import Sequential, SequentialPruning
from zsd_ray.settings.section import Fraction
from zsd_ray.stats.moderation import Prior


class AnytimePruning(SequentialPruning):
    """The best class is removed with probability at most alpha (rules/anytime.py).

    With the defaults an image also ends once its leader is near enough to the best, as most hard
    images do: a smaller `indifference` takes more evaluations (docs/measurements/statistics.md).
    """

    rule: Literal["anytime"] = "anytime"
    alpha: Fraction = 0.1
    growth: float = Field(1.1, ge=1)
    indifference: float | None = Field(0.2, gt=0)
    scale: float = Field(1.5, gt=0)

    def plain(self, n_classes: int) -> Rule:
        return Anytime(n_classes, self.alpha, self.scale, self.looks, self.moderated)


class Anytime(Sequential):
    """Remove a class when the evidence that it is worse than the leader reaches (K - 1) / alpha.

    The best of K classes could fall to any of K - 1 others; at each it falls with probability at
    most alpha / (K - 1), at whichever look (mixture.py), so with at most alpha in all. This is
    exact for independent normal differences of one variance without `moderated`, whose prior comes
    from the same scores; with it, and where variances change with t, it holds nearly
    (benchmarks/error_control.py). The guarantee excludes decisions among the classes left at
    `max_draws` or at an indifference stop.

    Args:
        n_classes: K, in the race at first.
        alpha: the error probability per image.
        scale: the expected scale of mean / standard deviation of a draw's difference; it changes
            the cost and not the guarantee.
        looks, moderated: as in `Sequential`.
    """

    def __init__(
        self,
        n_classes: int,
        alpha: float,
        scale: float,
        looks: Looks,
        moderated: bool,
    ) -> None:
        super().__init__(looks, moderated)
        self._enough = math.log(max(1, n_classes - 1) / alpha)
        self._scale = scale

    @property
    def enough(self) -> float:
        return self._enough

    def evidence(self, gaps: Gaps, prior: Prior) -> NDArray[np.float64]:
        return log_evidence(gaps, prior, self._scale)
