"""Paired t-tests after every draw: Clark & Jaini 2023, Algorithm 1."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from zsd_ray.rules.indifference import Stopping
from zsd_ray.rules.rule import Rule, Verdict
from zsd_ray.settings.section import Count, Fraction


class ClarkJainiPruning(Stopping):
    """Clark & Jaini 2023, Algorithm 1."""

    first_look_key: ClassVar[str | None] = "min_scores"

    rule: Literal["clark-jaini"] = "clark-jaini"
    min_scores: int = Field(20, ge=2)
    max_scores: Count = 2000
    p_value: Fraction = 2e-3

    @property
    def most_draws(self) -> int:
        return self.max_scores

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_scores < self.min_scores:
            raise ValueError(
                f"max_scores ({self.max_scores}) must be at least min_scores ({self.min_scores})"
            )
        return self

    @property
    def first_look(self) -> int:
        return self.min_scores

    def plain(self, n_classes: int) -> Rule:
        return ClarkJaini(self.min_scores, self.max_scores, self.p_value)


class ClarkJaini:
    """From draw `min_scores` on, remove each class that a t-test finds worse than the leader.

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
        # Running sums: many looks cost as much as one, and each is the same, to the last bit,
        # whatever comes behind it.
        totals = scores_NK[:last].cumsum(axis=0)
        leaders = totals[first - 1 :].argmin(axis=1).tolist()
        n = first
        while n <= last:
            leader, end = leaders[n - first], n + 1
            while end <= last and leaders[end - first] == leader:
                end += 1  # one leader in n .. end - 1
            worse = self._worse(scores_NK[: end - 1], leader, n)
            row, column = divmod(int(worse.argmax()), worse.shape[1])
            if worse[row, column]:
                keep = ~worse[row]
                n += row
                stop = "one-class-left" if np.count_nonzero(keep) == 1 else None
                return Verdict(n, keep, stop or ("max-scores" if n >= self.max_draws else None))
            n = end
        keep = np.ones(scores_NK.shape[1], dtype=bool)
        if len(keep) == 1:
            return Verdict(first, keep, "one-class-left")
        return Verdict(last, keep, "max-scores" if last >= self.max_draws else None)

    def _worse(self, scores_NK: NDArray[np.float64], leader: int, first: int) -> NDArray[np.bool_]:
        """Return the classes that a paired t-test finds worse, at each look from `first` to N.

        |t| > c, squared and freed of its fractions. The leader itself, 0 > 0, is never found; a
        constant difference always is, as by scipy.stats.ttest_rel.
        """
        difference = scores_NK - scores_NK[:, leader, None]
        sums = difference.cumsum(axis=0)[first - 1 :]
        squares = (difference * difference).cumsum(axis=0)[first - 1 :]
        sums *= sums
        n, factor = _factors(self.p_value, self.max_draws)[:, first : len(scores_NK) + 1, None]
        squares *= n
        squares -= sums
        squares *= factor
        worse: NDArray[np.bool_] = sums > squares
        return worse


@lru_cache(maxsize=16)
def _factors(p_value: float, max_draws: int) -> NDArray[np.float64]:
    """Return n and c^2 / (n - 1) for each number of draws n = 0, 1, ...

    c is the |t| of n - 1 degrees of freedom beyond which a two-sided test has p < `p_value`.
    """
    from scipy.special import stdtrit  # a configuration is read without it

    n = np.arange(max_draws + 1, dtype=np.float64)
    factor = np.full(max_draws + 1, np.nan)  # fewer than two draws allow no test
    factor[2:] = stdtrit(n[2:] - 1, p_value / 2) ** 2 / (n[2:] - 1)
    return np.stack([n, factor])
