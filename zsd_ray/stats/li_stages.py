"""Fixed stages: Li et al. 2023, Algorithm 2."""

from __future__ import annotations

import bisect

import numpy as np
from numpy.typing import NDArray

from zsd_ray.stats.rules import Verdict


class LiStages:
    """After draws[i] draws in all, the keep[i] classes of least mean score stay.

    Draws are nested: stage i adds draws[i] - draws[i-1] to those that its classes already have
    (the published code draws anew at some stages and spends more). Which t they have on a grid is
    said in diffusion/draws.py, staged_order.
    """

    def __init__(self, keep: tuple[int, ...], draws: tuple[int, ...]) -> None:
        self.keep = keep
        self.draws = draws
        self.max_draws = draws[-1]

    def next_look(self, n_draws: int) -> int:
        return self.draws[bisect.bisect_right(self.draws, n_draws)]

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        n = self.next_look(seen)
        stage = self.draws.index(n)
        best = np.argsort(scores_NK[:n].mean(axis=0), kind="stable")[: self.keep[stage]]
        keep = np.zeros(scores_NK.shape[1], dtype=bool)
        keep[best] = True
        if len(best) == 1:
            return Verdict(n, keep, "one-class-left")
        return Verdict(n, keep, "last-stage" if stage == len(self.draws) - 1 else None)
