"""Effective robustness: accuracy on shifted data beyond what accuracy on the usual data explains.

Taori et al. 2020 (NeurIPS), section 2: models that are better on the data that they were made for
are better on shifted data too, along a line through the logits of both accuracies. With this line
beta fitted to baselines, a model's effective robustness is

    rho = acc_ood - beta(acc_id),    beta(a) = expit(intercept + slope logit(a)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from zsd_ray.stats.reliability import Measured

Array = NDArray[np.float64]

_RESAMPLES = 5_000


class Counted(NamedTuple):
    """Right predictions among n labelled images, of which there is at least one."""

    correct: int
    n: int


class Shifted(NamedTuple):
    """One model on the usual data (id) and on shifted data (ood)."""

    id: Counted
    ood: Counted


@dataclass(frozen=True)
class BaselineLine:
    """logit(acc_ood) = intercept + slope logit(acc_id)."""

    intercept: float
    slope: float

    @classmethod
    def fit(cls, baselines: Sequence[Shifted]) -> BaselineLine:
        """Fit by least squares over the logits. For an accuracy of 0 or 1, whose logit is infinite,
        half an image is counted as the opposite.

        Raises:
            ValueError: less than two baselines that differ in their accuracy on the usual data.
        """
        _check(baselines)
        x, y = (_logit(counts) for counts in _columns(baselines))
        if len(np.unique(x)) < 2:
            raise ValueError(
                "a line needs at least 2 baselines of different accuracy on the usual data, but "
                f"came {len(baselines)} of {len(np.unique(x))}"
            )
        intercept, slope = _least_squares(x, y)
        return cls(float(intercept), float(slope))

    def expected(self, accuracy: ArrayLike) -> Array:
        """beta of accuracies on the usual data, each strictly between 0 and 1."""
        return np.asarray(expit(self.intercept + self.slope * logit(accuracy)), dtype=np.float64)


@dataclass(frozen=True)
class EffectiveRobustness:
    """expected: beta of the model's accuracy on the usual data. rho: with its 95 % interval."""

    expected: float
    rho: Measured


def effective_robustness(
    model: Shifted, baselines: Sequence[Shifted], seed: int = 0, confidence: float = 0.95
) -> EffectiveRobustness:
    """How far a model is above the baselines' line.

    The interval is of a parametric bootstrap over all accuracies, the model's two and those of the
    baselines, with a line fitted anew each time. Each accuracy is drawn from its Jeffreys posterior
    Beta(correct + 1/2, n - correct + 1/2) (Brown, Cai & DasGupta 2001, section 3): resampled
    counts of a model that is always right would all be alike. It takes the accuracies for
    independent, so where both data sets have the same images (corrupted ones) it is too wide; that
    baselines scatter round their line is not in it.

    Raises:
        ValueError: as `BaselineLine.fit`, or a model without images.
    """
    line = BaselineLine.fit(baselines)
    _check([model])
    own_id, own_ood = _columns([model])
    (expected,) = line.expected(expit(_logit(own_id)))
    rho = model.ood.correct / model.ood.n - float(expected)
    rng = np.random.default_rng(seed)
    intercept, slope = _least_squares(*(_drawn(counts, rng) for counts in _columns(baselines)))
    drawn_id, drawn_ood = (_drawn(counts, rng)[:, 0] for counts in (own_id, own_ood))
    resampled = expit(drawn_ood) - expit(intercept + slope * drawn_id)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return EffectiveRobustness(float(expected), Measured(rho, float(low), float(high)))


def _check(models: Sequence[Shifted]) -> None:
    for correct, n in (counts for model in models for counts in model):
        if not (0 <= correct <= n and n > 0):
            raise ValueError(f"needs 0 <= correct <= n and an image, but came {correct} of {n}")


def _columns(models: Sequence[Shifted]) -> tuple[Array, Array]:
    """(correct, n) of each, (M, 2), on the usual and on shifted data."""
    usual, shifted = (np.array([model[i] for model in models], float) for i in (0, 1))
    return usual.reshape(-1, 2), shifted.reshape(-1, 2)


def _logit(counts_M2: Array) -> Array:
    """(M,)."""
    correct, n = counts_M2.T
    return np.asarray(logit(np.clip(correct, 0.5, n - 0.5) / n), dtype=np.float64)


def _drawn(counts_M2: Array, rng: np.random.Generator) -> Array:
    """Logits of accuracies that may have led to these counts, (R, M)."""
    correct, n = counts_M2.T
    drawn = rng.beta(correct + 0.5, n - correct + 0.5, size=(_RESAMPLES, len(correct)))
    return np.asarray(logit(np.clip(drawn, 1e-12, 1 - 1e-12)), dtype=np.float64)


def _least_squares(x: Array, y: Array) -> tuple[Array, Array]:
    """Intercept and slope over the last axis, (...,) each."""
    x_mean, y_mean = x.mean(axis=-1), y.mean(axis=-1)
    deviation = x - x_mean[..., None]
    slope = (deviation * y).sum(axis=-1) / (deviation**2).sum(axis=-1)
    return y_mean - slope * x_mean, slope
