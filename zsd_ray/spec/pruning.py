"""The pruning rules that a run can have, one section each, told apart by `rule`.

stats/rules.py does what they say. `most_draws` is how many an image can come to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from zsd_ray.spec.section import SAVED, Count, Fraction, Section


class _Stopping(Section):
    """indifference: also stop where the leader can be worse than the best class by no more than so
    many standard deviations of one draw's difference (stats/indifference.py)."""

    indifference: float | None = Field(None, gt=0)


class ClarkJainiPruning(_Stopping):
    """Clark & Jaini 2023, Algorithm 1."""

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


class LiPruning(_Stopping):
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


class NoPruning(Section):
    """Every class gets every draw."""

    rule: Literal["none"]
    draws: Count = 100

    @property
    def most_draws(self) -> int:
        return self.draws


class VotePruning(Section):
    """Each level votes for a class (stats/vote.py): draws i, i + levels, ... are of one level."""

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


class HalvingPruning(_Stopping):
    """Successive halving: the best `keep` share stays after min_draws, growth times as many, ..."""

    rule: Literal["halving"]
    min_draws: Count = 4
    growth: float = Field(2.0, gt=1)
    keep: float = Field(0.5, gt=0, lt=1)
    max_draws: Count = 2000

    @property
    def most_draws(self) -> int:
        return self.max_draws


class _SequentialPruning(_Stopping):
    """Tests of each class against the leader (stats/sequential.py).

    Looks come after every draw from `min_draws` on, or each after `growth` times the draws of the
    last. `moderated` variances lean on those of the other classes.
    """

    min_draws: int = Field(2, ge=2, lt=2**31)
    max_draws: Count = 500
    growth: float = Field(1.0, ge=1)
    moderated: bool = True

    @property
    def most_draws(self) -> int:
        return self.max_draws

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: Any, info: ValidationInfo) -> Any:
        """Read what an earlier version saved, where its further keys changed nothing."""
        if not isinstance(value, Mapping) or not (info.context or {}).get(SAVED):
            return value
        for key, default in KEYS_OF_EARLIER_VERSIONS.items():
            if value.get(key, default) != default:
                raise ValueError(
                    f"{key} {value[key]} is of an earlier version of zsd_ray, which alone can "
                    "repeat this run's decisions"
                )
        return {k: v for k, v in value.items() if k not in KEYS_OF_EARLIER_VERSIONS}

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_draws > self.max_draws:
            raise ValueError(
                f"min_draws ({self.min_draws}) must be at most max_draws ({self.max_draws})"
            )
        return self


KEYS_OF_EARLIER_VERSIONS: Mapping[str, Any] = {"block": 1, "sampling": "all"}
"""Keys of `_SequentialPruning` that saved runs have, and identities hold at these values."""


class PairedTPruning(_SequentialPruning):
    """A paired t-test at each look (stats/paired_t.py)."""

    rule: Literal["t-test"]
    p_value: Fraction = 2e-3


class AnytimePruning(_SequentialPruning):
    """The best class is removed with probability at most alpha (stats/anytime.py).

    With the defaults an image ends once its leader is near enough to the best, which on hard images
    is what ends it: smaller `indifference`, more evaluations (docs/statistics.md).
    """

    rule: Literal["anytime"] = "anytime"
    alpha: Fraction = 0.1
    growth: float = Field(1.1, ge=1)
    indifference: float | None = Field(0.2, gt=0)
    scale: float = Field(1.5, gt=0)


PruningConfig = Annotated[
    ClarkJainiPruning
    | LiPruning
    | HalvingPruning
    | PairedTPruning
    | AnytimePruning
    | VotePruning
    | NoPruning,
    Field(discriminator="rule"),
]
