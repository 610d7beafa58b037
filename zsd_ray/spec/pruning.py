"""The pruning rules that a run can have, one section each, told apart by `rule`.

stats/rules.py does what they say.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zsd_ray.spec.section import Count, Fraction, Section


class ClarkJainiPruning(Section):
    """Clark & Jaini 2023, Algorithm 1."""

    rule: Literal["clark-jaini"] = "clark-jaini"
    min_scores: int = Field(20, ge=2)
    max_scores: Count = 2000
    p_value: Fraction = 2e-3

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_scores < self.min_scores:
            raise ValueError(
                f"max_scores ({self.max_scores}) must be at least min_scores ({self.min_scores})"
            )
        return self


class LiPruning(Section):
    """Li et al. 2023, Algorithm 2: after draws[i] draws the keep[i] best classes stay."""

    rule: Literal["li"]
    keep: list[Count] = Field([5, 1])
    draws: list[Count] = Field([50, 500])

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


class NoPruning(Section):
    """Every class gets every draw."""

    rule: Literal["none"]
    draws: Count = 100


PruningConfig = Annotated[ClarkJainiPruning | LiPruning | NoPruning, Field(discriminator="rule")]
