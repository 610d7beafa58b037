"""A vote of noise levels: Startsev & Singh, Algorithm 4."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zsd_ray.rules.rule import Pruning, Rule, Verdict
from zsd_ray.settings.section import Count


class VotePruning(Pruning):
    """Each level votes for a class (rules/vote.py): draws i, i + levels, ... are of one level."""

    rule: Literal["vote"]
    levels: Count
    draws: Count

    @property
    def most_draws(self) -> int:
        return self.draws

    @model_validator(mode="after")
    def _whole_levels(self) -> Self:
        if self.draws % self.levels:
            raise ValueError(f"draws ({self.draws}) must be a multiple of levels ({self.levels})")
        return self

    @property
    def first_look(self) -> int:
        return self.draws

    def make(self, n_classes: int) -> Rule:
        return Vote(self.levels, self.draws)


class Vote:
    """A rule in which each level votes for its class of least mean score; most votes win.

    The paper leaves ties open: they go to the class of the better mean rank over levels, and then
    to the one of the smaller number. One look, after the last draw.

    Args:
        levels: L; draw i is of level i mod L, and a level's draws are averaged.
        draws: a multiple of it.
    """

    def __init__(self, levels: int, draws: int) -> None:
        self.max_draws = draws
        self._levels = levels

    def next_look(self, n_draws: int) -> int:
        return self.max_draws

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        from scipy.stats import rankdata  # it takes half a second, and few runs vote

        n_classes = scores_NK.shape[1]
        of_level = scores_NK[: self.max_draws].reshape(-1, self._levels, n_classes).mean(axis=0)
        votes = np.bincount(of_level.argmin(axis=1), minlength=n_classes)
        mean_rank = rankdata(of_level, axis=1).mean(axis=0)
        ranking = np.lexsort((mean_rank, -votes))
        keep = np.ones(n_classes, dtype=bool)
        return Verdict(self.max_draws, keep, "vote", ranking=ranking)
