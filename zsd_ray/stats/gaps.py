"""Paired differences between each class and the leader of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaps:
    """Class less leader, over the observations that both have; each array is (K,) float64.

    An observation is the mean of a block of draws. Of the leader itself all is 0, but n.

    leader: the class of least mean among those that did not wait.
    n, mean: observations and their mean; squares: the sum of squares about that mean.
    """

    leader: int
    n: Array
    mean: Array
    squares: Array

    @classmethod
    def of(cls, scores_NK: Array, block: int) -> Gaps:
        """From paired scores, nan from the draw on that a class has waited; N whole blocks."""
        scores = scores_NK
        if block > 1:
            scores = scores.reshape(-1, block, scores.shape[1]).mean(axis=1)
        n = np.full(scores.shape[1], float(len(scores)))
        waited = np.isnan(scores[-1])
        if not waited.any():
            leader = int(scores.sum(axis=0).argmin())
            gap = scores - scores[:, leader, None]
            mean = gap.mean(axis=0)
            gap -= mean
            return cls(leader, n, mean, np.einsum("nk,nk->k", gap, gap))
        totals = scores.sum(axis=0)
        totals[waited] = np.inf
        leader = int(totals.argmin())
        gap = scores - scores[:, leader, None]
        n[waited] = np.count_nonzero(~np.isnan(gap[:, waited]), axis=0)
        mean = np.nansum(gap, axis=0) / n
        return cls(leader, n, mean, np.nansum((gap - mean) ** 2, axis=0))

    @property
    def others(self) -> NDArray[np.bool_]:
        """(K,) bool, false for the leader."""
        others = np.ones(len(self.n), dtype=bool)
        others[self.leader] = False
        return others
