"""No elimination: every class gets every draw, and the least mean score wins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsd_ray.stats.rules import Verdict


class EveryDraw:
    """One look, after the last draw."""

    def __init__(self, draws: int) -> None:
        self.max_draws = draws

    def next_look(self, n_draws: int) -> int:
        return self.max_draws

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        return Verdict(self.max_draws, np.ones(scores_NK.shape[1], dtype=bool), "all-draws")
