"""No elimination: every class gets every draw, and the least mean score wins."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zsd_ray.rules.rule import Pruning, Rule, Verdict
from zsd_ray.settings.section import Count


class NoPruning(Pruning):
    """Every class gets every draw."""

    rule: Literal["none"]
    draws: Count = 100

    @property
    def most_draws(self) -> int:
        return self.draws

    @property
    def first_look(self) -> int:
        return self.draws

    def make(self, n_classes: int) -> Rule:
        return EveryDraw(self.draws)


class EveryDraw:
    """A rule with one look, after the last draw."""

    def __init__(self, draws: int) -> None:
        self.max_draws = draws

    def next_look(self, n_draws: int) -> int:
        return self.max_draws

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        return Verdict(self.max_draws, np.ones(scores_NK.shape[1], dtype=bool), "all-draws")
