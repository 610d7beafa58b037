"""Successive halving: each round removes the worse half; the draws of a round double."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsd_ray.rules.indifference import Stopping
from zsd_ray.rules.rule import Rule, Verdict
from zsd_ray.settings.section import Count


class HalvingPruning(Stopping):
    """Successive halving: the best `keep` share stays after min_draws, growth times as many, ..."""

    first_look_key: ClassVar[str | None] = "min_draws"

    rule: Literal["halving"]
    min_draws: Count = 4
    growth: float = Field(2.0, gt=1)
    keep: float = Field(0.5, gt=0, lt=1)
    max_draws: Count = 2000

    @property
    def most_draws(self) -> int:
        return self.max_draws

    @property
    def first_look(self) -> int:
        return self.min_draws

    def plain(self, n_classes: int) -> Rule:
        return SuccessiveHalving(self.min_draws, self.growth, self.keep, self.max_draws)


class SuccessiveHalving:
    """Keep the best share `keep` of the classes after `first`, 2 first, 4 first ... draws in all.

    Karnin, Koren & Somekh 2013, Algorithm 1, with nested draws: rounds cost about the same, as
    half the classes get twice the draws. No test, and no guarantee for one image; the number of
    evaluations is the same for all images.

    Args:
        keep: share of classes that stays at each round, rounded up.
    """

    def __init__(self, first: int, growth: float, keep: float, max_draws: int) -> None:
        self.max_draws = max_draws
        self._keep = keep
        rounds = [min(first, max_draws)]
        while rounds[-1] < max_draws:
            rounds.append(min(max_draws, max(rounds[-1] + 1, round(rounds[-1] * growth))))
        self._rounds = rounds

    def next_look(self, n_draws: int) -> int:
        return next(n for n in self._rounds if n > n_draws)

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        n = self.next_look(seen)
        n_kept = max(1, math.ceil(self._keep * scores_NK.shape[1]))
        if n_kept == scores_NK.shape[1] > 1:
            n_kept -= 1
        keep = np.zeros(scores_NK.shape[1], dtype=bool)
        keep[np.argsort(scores_NK[:n].sum(axis=0), kind="stable")[:n_kept]] = True
        if n_kept == 1:
            return Verdict(n, keep, "one-class-left")
        return Verdict(n, keep, "max-draws" if n >= self.max_draws else None)
