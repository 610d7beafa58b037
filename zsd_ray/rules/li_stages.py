"""Fixed stages: Li et al. 2023, Algorithm 2."""

from __future__ import annotations

import bisect
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from zsd_ray.rules.indifference import Stopping
from zsd_ray.rules.rule import Rule, Verdict
from zsd_ray.settings.section import Count


class LiPruning(Stopping):
    """Li et al. 2023, Algorithm 2: after draws[i] draws the keep[i] best classes stay."""

    rule: Literal["li"]
    keep: list[Count] = Field([5, 1])
    draws: list[Count] = Field([50, 500])

    @property
    def most_draws(self) -> int:
        return self.draws[-1]

    @model_validator(mode="after")
    def _stages(self) -> Self:
        if len(self.keep) != len(self.draws) or not self.keep:
            raise ValueError(
                f"keep and draws need one entry a stage, but came {len(self.keep)} and "
                f"{len(self.draws)}"
            )
        if any(a <= b for a, b in zip(self.keep, self.keep[1:], strict=False)):
            raise ValueError(f"keep must fall from stage to stage, but came {self.keep}")
        if any(a >= b for a, b in zip(self.draws, self.draws[1:], strict=False)):
            raise ValueError(f"draws must rise from stage to stage, but came {self.draws}")
        return self

    @property
    def first_look(self) -> int:
        return self.draws[0]

    def plain(self, n_classes: int) -> Rule:
        return LiStages(tuple(self.keep), tuple(self.draws))


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
