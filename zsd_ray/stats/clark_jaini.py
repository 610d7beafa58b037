"""Paired t-tests after every draw: Clark & Jaini 2023, Algorithm 1."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from zsd_ray.stats.rules import Verdict


class ClarkJaini:
    """From draw `min_scores` on, remove each class that a t-test tells from the leader.

    After every draw, each surviving class is compared with the class of least mean score by a
    two-sided paired t-test, and removed where p < `p_value`. An image is decided when one class is
    left, or after `max_scores` draws by the least mean.

    Assumes normal paired differences. The test is repeated at every draw, so a class that ties
    with the leader is removed far more often than `p_value`.
    """

    def __init__(self, min_scores: int, max_scores: int, p_value: float) -> None:
        self.min_scores = min_scores
        self.max_draws = max_scores
        self.p_value = p_value

    def next_look(self, n_draws: int) -> int:
        return max(self.min_scores, n_draws + 1)

    def look(self, scores_NK: NDArray[np.float64]) -> Verdict:
        n = len(scores_NK)
        leader = scores_NK.sum(axis=0).argmin()
        # Sums rather than .mean() and .var(): this runs after every draw, and their checks cost
        # more than the arithmetic.
        difference = scores_NK - scores_NK[:, leader, None]
        mean = difference.sum(axis=0) / n
        deviation = difference - mean
        variance = (deviation * deviation).sum(axis=0) / (n - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # As scipy.stats.ttest_rel: 0/0 is NaN, which removes nothing (the leader itself);
            # a constant non-zero difference is infinitely significant.
            t = mean / np.sqrt(variance / n)
        keep = ~(np.abs(t) > _critical(n - 1, self.p_value))
        if keep.sum() == 1:
            return Verdict(keep, "one-class-left")
        return Verdict(keep, "max-scores" if n >= self.max_draws else None)


@lru_cache(maxsize=1 << 14)
def _critical(degrees: int, p_value: float) -> float:
    """|t| beyond which a two-sided test has p < `p_value`."""
    return float(-stdtrit(degrees, p_value / 2))
