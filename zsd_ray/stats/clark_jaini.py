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

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        first, last = self.next_look(seen), min(len(scores_NK), self.max_draws)
        # Running sums: many looks cost what one costs, and each is the same, to the last bit,
        # whatever comes behind it.
        totals = np.cumsum(scores_NK[:last], axis=0)
        leaders = totals[first - 1 :].argmin(axis=1)
        n = first
        while n <= last:
            leader = leaders[n - first]
            change = np.flatnonzero(leaders[n - first :] != leader)
            end = n + int(change[0]) if len(change) else last + 1  # one leader in n .. end - 1
            worse = self._worse(scores_NK[: end - 1], leader, n)
            found = np.flatnonzero(worse.any(axis=1))
            if len(found):
                keep = ~worse[found[0]]
                n += int(found[0])
                stop = "one-class-left" if keep.sum() == 1 else None
                return Verdict(n, keep, stop or ("max-scores" if n >= self.max_draws else None))
            n = end
        keep = np.ones(scores_NK.shape[1], dtype=bool)
        if len(keep) == 1:
            return Verdict(first, keep, "one-class-left")
        return Verdict(last, keep, "max-scores" if last >= self.max_draws else None)

    def _worse(
        self, scores_NK: NDArray[np.float64], leader: np.intp, first: int
    ) -> NDArray[np.bool_]:
        """Which classes a paired t-test tells from the leader, at each look from `first` to N."""
        difference = scores_NK - scores_NK[:, leader, None]
        sums = np.cumsum(difference, axis=0)[first - 1 :]
        squares = np.cumsum(difference * difference, axis=0)[first - 1 :]
        n = np.arange(first, len(scores_NK) + 1)[:, None]
        variance = np.maximum(squares - sums * sums / n, 0.0) / (n - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # As scipy.stats.ttest_rel: 0/0 is NaN, which removes nothing (the leader itself);
            # a constant non-zero difference is infinitely significant.
            t = sums / np.sqrt(variance * n)
        worse: NDArray[np.bool_] = np.abs(t) > _critical(self.p_value, self.max_draws)[n - 1]
        return worse


@lru_cache(maxsize=16)
def _critical(p_value: float, max_draws: int) -> NDArray[np.float64]:
    """|t| beyond which a two-sided test has p < `p_value`, by degrees of freedom."""
    degrees = np.arange(max_draws, dtype=np.float64)
    degrees[0] = np.nan  # one draw tells nothing
    critical: NDArray[np.float64] = -stdtrit(degrees, p_value / 2)
    return critical
