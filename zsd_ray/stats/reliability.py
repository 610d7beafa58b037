"""Calibration of probabilities: bins, calibration error, proper scores, intervals.

Shapes: N images; confidence (N,) is the probability that an image's prediction is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from zsd_ray.stats.intervals import wilson

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]

N_BINS = 15  # as Guo et al. 2017 have it

_RESAMPLES = 1000


@dataclass(frozen=True)
class Measured:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Images of similar confidence: their mean confidence, and the share of right predictions,
    with its Wilson 95 % interval.
    """

    n: int
    confidence: float
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def equal_width(confidence: Array, n_bins: int = N_BINS) -> Numbers:
    """Return each image's bin, (N,): bin m of M holds ((m - 1) / M, m / M] (Guo et al. 2017)."""
    numbers: Numbers = np.clip(np.ceil(confidence * n_bins) - 1, 0, n_bins - 1).astype(np.intp)
    return numbers


def equal_mass(confidence: Array, n_bins: int = N_BINS) -> Numbers:
    """Return each image's bin, (N,), with bins of equal size; equal confidences stay together."""
    if not len(confidence):
        return np.zeros(0, dtype=np.intp)
    values, first = np.unique(np.sort(confidence), return_index=True)
    bins = first * min(n_bins, len(confidence)) // len(confidence)
    return bins[np.searchsorted(values, confidence)].astype(np.intp)


def bins(confidence: Array, correct: NDArray[np.bool_], numbers: Numbers) -> list[Bin]:
    """Return the bins that hold images, by confidence."""
    made = []
    for number in np.unique(numbers):
        inside = numbers == number
        n, right = int(np.count_nonzero(inside)), int(np.count_nonzero(correct[inside]))
        low, high = wilson(right, n)
        made.append(Bin(n, float(confidence[inside].mean()), right, right / n, low, high))
    return made


def calibration_error(
    confidence: Array, correct: NDArray[np.bool_], numbers: Numbers, weights: Array | None = None
) -> float:
    """Return the ECE: mean over images of their bin's abs(accuracy - confidence).

    Guo et al. 2017, eq. 3.

    Args:
        weights: (N,), how often each image counts; None: once.
    """
    miss = np.asarray(correct, dtype=np.float64) - confidence
    if weights is None:
        return float(np.abs(np.bincount(numbers, miss)).sum() / len(miss))
    return float(np.abs(np.bincount(numbers, weights * miss)).sum() / weights.sum())


def error_by_chance(confidence: Array, numbers: Numbers, seed: int = 0) -> float:
    """Return the mean ECE of a perfectly calibrated model on images of these confidences.

    ECE is never below 0, so chance alone makes it positive: outcomes are drawn from the confidences
    (Broecker & Smith 2007, consistency resampling).
    """
    rng = np.random.default_rng(seed)
    found = [
        calibration_error(confidence, rng.random(len(confidence)) < confidence, numbers)
        for _ in range(_RESAMPLES)
    ]
    return float(np.mean(found))


def log_odds(log_probabilities: Array, predictions: NDArray[np.int64]) -> Array:
    """Return log(p / (1 - p)) of each image's prediction, (N,), exact also for p near 1."""
    images = np.arange(len(log_probabilities))
    rest = log_probabilities.copy()
    rest[images, predictions] = -np.inf
    odds: Array = log_probabilities[images, predictions] - logsumexp(rest, axis=1)
    return odds


def brier(log_probabilities: Array, labels: NDArray[np.int64]) -> Array:
    """Return each image's sum over classes of (probability - [is label])^2, (N,) (Brier 1950)."""
    p = np.exp(log_probabilities)
    at_label = p[np.arange(len(p)), labels]
    each: Array = (p**2).sum(axis=1) - 2 * at_label + 1
    return each


def log_loss(log_probabilities: Array, labels: NDArray[np.int64]) -> Array:
    """Return minus the log-probability of each image's label, in nats, (N,)."""
    each: Array = -log_probabilities[np.arange(len(labels)), labels]
    return each


def intervals(
    statistics: Mapping[str, Callable[[Array], float]], n_images: int, seed: int = 0
) -> dict[str, Measured]:
    """Return statistics of images, none below 0, with basic bootstrap intervals over images.

    Basic (Davison & Hinkley 1997, eq. 5.6): the statistic less the resamples' deviation from it. A
    percentile interval of an ECE lies too high, since resampling adds to it as chance does.

    Args:
        statistics: by name; each takes the weights of the images, (N,). All use the same resamples.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in statistics}
    for _ in range(_RESAMPLES):
        drawn = rng.integers(n_images, size=n_images)
        weights = np.bincount(drawn, minlength=n_images).astype(np.float64)
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    once = np.ones(n_images)
    measured = {}
    for name, statistic in statistics.items():
        value = statistic(once)
        least, most = np.quantile(found[name], [0.025, 0.975]).tolist()
        low, high = max(0.0, 2 * value - most), max(value, 2 * value - least)
        measured[name] = Measured(value, min(value, low), high)
    return measured
