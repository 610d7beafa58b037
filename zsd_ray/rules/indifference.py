"""A stop at near-ties: where the leader can be only a little worse than the best class."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsd_ray.rules.gaps import Gaps
from zsd_ray.rules.mixture import half_width
from zsd_ray.rules.rule import Pruning, Rule, Verdict
from zsd_ray.stats.moderation import NOTHING

ALPHA = 0.05


class Stopping(Pruning):
    """Base of the sections of rules that can stop at a near-tie.

    indifference: also stop where the leader can be worse than the best class by at most this many
    standard deviations of one draw's difference (`WithIndifference`)."""

    indifference: float | None = Field(None, gt=0)

    @abstractmethod
    def plain(self, n_classes: int) -> Rule:
        """Return the rule without that stop."""

    def make(self, n_classes: int) -> Rule:
        rule = self.plain(n_classes)
        if self.indifference is None:
            return rule
        return WithIndifference(rule, self.indifference, n_classes)


class WithIndifference:
    """Wraps a rule to also stop where the leader's regret is bounded ("indifferent").

    The regret, how much lower the best class's mean is than the leader's, is below `delta`
    standard deviations of one draw's difference when this holds against every class left; each
    bound is the end of a confidence sequence (mixture.py), so the image's prediction is
    delta-optimal among the classes left with probability 1 - ALPHA, however often one looks.

    Args:
        rule: the wrapped rule, whose looks are used.
        delta: in standard deviations of a single draw's paired difference.
        n_classes: K, in the race at first; ALPHA is shared among K - 1 bounds.
    """

    def __init__(self, rule: Rule, delta: float, n_classes: int) -> None:
        self.max_draws = rule.max_draws
        self._rule = rule
        self._delta = delta
        self._alpha = ALPHA / max(1, n_classes - 1)

    def next_look(self, n_draws: int) -> int:
        return self._rule.next_look(n_draws)

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        # One look at a time: this rule may stop where the other would continue.
        scores = scores_NK[: self.next_look(seen)]
        verdict = self._rule.look(scores, seen)
        if verdict.stop_reason is not None:
            return verdict
        gaps = Gaps.of(scores[: verdict.n_draws, verdict.keep])
        width, deviation = half_width(gaps, NOTHING, self._delta, self._alpha)
        worst = np.max((width - gaps.mean)[gaps.others] - self._delta * deviation[gaps.others])
        if worst <= 0:
            return Verdict(verdict.n_draws, verdict.keep, "indifferent")
        return verdict
