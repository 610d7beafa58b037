"""The common part of rules that test each class against the leader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, model_validator

from zsd_ray.rules.gaps import Array, Gaps
from zsd_ray.rules.indifference import Stopping
from zsd_ray.rules.looks import Looks
from zsd_ray.rules.rule import Verdict
from zsd_ray.settings.section import SAVED, Count
from zsd_ray.stats.moderation import NOTHING, Prior, fit


class SequentialPruning(Stopping):
    """Tests of each class against the leader (rules/sequential.py).

    Looks come after every draw from `min_draws` on, or each after `growth` times the draws of the
    last. `moderated` variances are shrunk towards those of the other classes.
    """

    first_look_key: ClassVar[str | None] = "min_draws"
    gone: ClassVar[Mapping[str, Any]] = {"block": 1, "sampling": "all"}

    min_draws: int = Field(2, ge=2, lt=2**31)
    max_draws: Count = 500
    growth: float = Field(1.0, ge=1)
    moderated: bool = True

    @property
    def most_draws(self) -> int:
        return self.max_draws

    @property
    def first_look(self) -> int:
        return self.min_draws

    @property
    def looks(self) -> Looks:
        """The looks of the rule."""
        return Looks(self.min_draws, self.growth, self.max_draws)

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: Any, info: ValidationInfo) -> Any:
        """Accept a section of an earlier version if its further keys have no effect."""
        if not isinstance(value, Mapping) or not (info.context or {}).get(SAVED):
            return value
        for key, default in cls.gone.items():
            if value.get(key, default) != default:
                raise ValueError(
                    f"{key} {value[key]} is of an earlier version of zsd_ray, which alone can "
                    "repeat this run's decisions"
                )
        return {k: v for k, v in value.items() if k not in cls.gone}

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_draws > self.max_draws:
            raise ValueError(
                f"min_draws ({self.min_draws}) must be at most max_draws ({self.max_draws})"
            )
        return self


class Sequential(ABC):
    """Removes, at each look, classes that the test finds worse; the last look ends the image.

    Args:
        looks: the looks, up to the last draw; then the least mean wins.
        moderated: whether variances are moderated, by those of the classes that are left.
    """

    def __init__(self, looks: Looks, moderated: bool) -> None:
        self.max_draws = looks.last
        self._looks = looks
        self._moderated = moderated

    def next_look(self, n_draws: int) -> int:
        return self._looks.after(n_draws)

    def look(self, scores_NK: Array, seen: int) -> Verdict:
        n = self.next_look(seen)
        keep = np.ones(scores_NK.shape[1], dtype=bool)
        if len(keep) == 1:
            return Verdict(n, keep, "one-class-left")
        gaps, prior = self.gaps(scores_NK[:n])
        evidence = self.evidence(gaps, prior)
        evidence[gaps.leader] = -np.inf
        keep = evidence < self.enough
        if np.count_nonzero(keep) == 1:
            return Verdict(n, keep, "one-class-left")
        return Verdict(n, keep, "max-draws" if n >= self.max_draws else None)

    def gaps(self, scores_NK: Array) -> tuple[Gaps, Prior]:
        """Return the differences from the leader, and the prior of their variances."""
        gaps = Gaps.of(scores_NK)
        if not self._moderated:
            return gaps, NOTHING
        others = gaps.others
        df = gaps.n[others] - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            return gaps, fit(gaps.squares[others] / df, df)

    @property
    @abstractmethod
    def enough(self) -> float:
        """Return the evidence at which a class is removed."""

    @abstractmethod
    def evidence(self, gaps: Gaps, prior: Prior) -> NDArray[np.float64]:
        """Return the evidence that each class is worse than the leader, (K,)."""
