"""The cost of a run: bounds from its rule, and an estimate from a pilot of a few images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

MIN_PILOT = 10
"""Fewer images tell too little about the others."""


@dataclass(frozen=True)
class Bounds:
    """Size and cost bounds of a run, known before it starts.

    n_listed: images of the data set; n_images: those of the run, of which n_todo are to do.
    least, most: evaluations per image that the rule may take, with the levels of its tree.
    n_audit: images that a screen's audit scores with all classes as well; audit_least, audit_most:
        evaluations per such image.
    hashed: the parts of a user's own model that enter the identity; none: all model files.
    """

    output: str
    n_listed: int
    n_images: int
    n_done: int
    n_todo: int
    n_classes: int
    n_templates: int
    n_prompts: int
    min_workers: int
    max_workers: int
    gpus_per_worker: float
    least: int
    most: int
    n_audit: int = 0
    audit_least: int = 0
    audit_most: int = 0
    hashed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Likely:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Likely:
        return Likely(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Estimate:
    """The cost of a run, estimated from a pilot of `n_pilot` images.

    seconds_per_evaluation: of one worker.
    worker_hours: of all workers together; gpu_hours: None where workers have no GPU.
    hours: wall time, with the maximal number of workers always busy.
    cost: in dollars, None without a price.
    """

    n_pilot: int
    evaluations_per_image: Likely
    evaluations: Likely
    seconds_per_evaluation: float
    worker_hours: Likely
    gpu_hours: Likely | None
    hours: Likely
    cost: Likely | None


def mean_interval(values: Sequence[float], least: float, most: float) -> Likely:
    """Return the mean of a population, with its interval, from a sample `values`.

    Student's t, corrected for skewness by Hall's cubic transformation (1992, JRSS B 54, 221): a few
    images cost many times what the others do, and t alone ends too low. No method sees a kind of
    image that the sample has none of.

    Args:
        least, most: no value can be beyond these, and so no mean.
    """
    n, mean, deviation = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    if deviation == 0:
        return Likely(mean, mean, mean)
    skewness = float(np.mean((np.asarray(values) - mean) ** 3)) / deviation**3
    error, quantile = deviation / math.sqrt(n), float(stdtrit(n - 1, 0.975))
    low = mean - error * _unskewed(quantile, skewness / math.sqrt(n))
    high = mean - error * _unskewed(-quantile, skewness / math.sqrt(n))
    return Likely(mean, max(least, low), min(most, high))


def _unskewed(z: float, a: float) -> float:
    """Return the x that solves x + a x^2 / 3 + a^2 x^3 / 27 + a / 6 = z."""
    if abs(a) < 1e-9:
        return z
    return 3 / a * (float(np.cbrt(1 + a * (z - a / 6))) - 1)


def estimate(
    bounds: Bounds, rows: Sequence[Mapping[str, Any]], price: float | None = None
) -> Estimate:
    """Estimate a whole run from the decision rows of its pilot.

    The intervals cover the variation between images; the speed is taken to be the pilot's.

    Args:
        rows: rows without an error, MIN_PILOT or more.
        price: of a GPU, in dollars per hour.
    """
    assert len(rows) >= MIN_PILOT
    each = mean_interval([row["n_evaluations"] for row in rows], bounds.least, bounds.most)
    evaluations = each.times(bounds.n_todo)
    one = sum(row["seconds"] for row in rows) / sum(row["n_spent"] for row in rows)
    worker_hours = evaluations.times(one / 3600)
    gpu_hours = worker_hours.times(bounds.gpus_per_worker) if bounds.gpus_per_worker else None
    return Estimate(
        n_pilot=len(rows),
        evaluations_per_image=each,
        evaluations=evaluations,
        seconds_per_evaluation=one,
        worker_hours=worker_hours,
        gpu_hours=gpu_hours,
        hours=worker_hours.times(1 / bounds.max_workers),
        cost=gpu_hours.times(price) if gpu_hours and price is not None else None,
    )
