"""Paired differences between each class and the leader of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaps:
    """Class less leader, over N draws; each array is (K,) float64, and 0 for the leader itself.

    leader: the class of least mean.
    n: N for every class; mean: of the differences; squares: the sum of squares about that mean.
    """

    leader: int
    n: Array
    mean: Array
    squares: Array

    @classmethod
    def of(cls, scores_NK: Array) -> Gaps:
        """Return the gaps of scores that are paired by draw."""
        n = np.full(scores_NK.shape[1], float(len(scores_NK)))
        leader = int(scores_NK.sum(axis=0).argmin())
        gap = scores_NK - scores_NK[:, leader, None]
        mean = gap.mean(axis=0)
        gap -= mean
        return cls(leader, n, mean, np.einsum("nk,nk->k", gap, gap))

    @property
    def others(self) -> NDArray[np.bool_]:
        """Return a (K,) bool mask, false for the leader."""
        others = np.ones(len(self.n), dtype=bool)
        others[self.leader] = False
        return others
