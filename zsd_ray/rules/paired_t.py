"""Elimination by a fixed-sample paired t-test at each look: cheap, and without a guarantee."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zsd_ray.rules.gaps import Gaps
from zsd_ray.rules.looks import Looks
from zsd_ray.rules.rule import Rule
from zsd_ray.rules.sequential import Sequential, SequentialPruning
from zsd_ray.settings.section import Fraction
from zsd_ray.stats.moderation import Prior


class PairedTPruning(SequentialPruning):
    """A paired t-test at each look (rules/paired_t.py)."""

    rule: Literal["t-test"]
    p_value: Fraction = 2e-3

    def plain(self, n_classes: int) -> Rule:
        return PairedT(self.p_value, self.looks, self.moderated)


class PairedT(Sequential):
    """Remove a class if a two-sided paired t-test finds it worse than the leader, p < `p_value`.

    The test of Clark & Jaini 2023, Algorithm 1 (clark_jaini.py has theirs to the letter), at looks
    set by the configuration, with moderated variances if wanted (Smyth 2004, section 4: t with the
    prior's degrees of freedom added). Each look is another chance to err, so the best class falls
    more often than p_value says: fewer looks, fewer errors.
    """

    def __init__(self, p_value: float, looks: Looks, moderated: bool) -> None:
        super().__init__(looks, moderated)
        self._p_value = p_value

    @property
    def enough(self) -> float:
        return -self._p_value

    def evidence(self, gaps: Gaps, prior: Prior) -> NDArray[np.float64]:
        """Return minus the p-value; -1 for a class that is ahead of the leader."""
        from scipy.special import stdtr  # a configuration is read without it

        df = gaps.n - 1 + prior.df
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = (prior.df * prior.variance + gaps.squares) / df
            t = gaps.mean / np.sqrt(variance / gaps.n)
            p = 2 * stdtr(df, -np.abs(t))
        p = np.where(np.isnan(p), 1.0, p)
        result: NDArray[np.float64] = np.where(gaps.mean > 0, -p, -1.0)
        return result
