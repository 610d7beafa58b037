"""Elimination by a test of each class against the leader: what such rules have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from zsd_ray.stats.gaps import Array, Gaps
from zsd_ray.stats.looks import Looks
from zsd_ray.stats.moderation import NOTHING, Prior, fit
from zsd_ray.stats.rules import Verdict


class Sequential(ABC):
    """Removes, at each look, what the test tells from the leader; the last look ends the image.

    Args:
        looks: when, up to the last draw; then the least mean wins.
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
        """The differences from the leader, and what is believed of their variances."""
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
        """The evidence from which on a class is removed."""

    @abstractmethod
    def evidence(self, gaps: Gaps, prior: Prior) -> NDArray[np.float64]:
        """How surely each class is worse than the leader, (K,); more is surer."""
