"""Which times of a schedule have a signal-to-noise ratio in a range, and the other way round.

SNR = alpha^2 / sigma^2 falls with t. One t means other ratios on every schedule: t = 0.2 is 16 on
the straight path of flow matching and 2 on a linear chain of 1,000 steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.diffusion.schedule import Array, Schedule

_HALVINGS = 60  # of [0, 1]: to the last bit of a float64


@dataclass(frozen=True)
class NoiseLevels:
    """The range of the draws of a run, in two measures; the least first.

    t_range: times of the model's schedule. snr_range: signal-to-noise ratios; the largest is None
        where it has no bound, as without any noise.
    """

    t_range: tuple[float, float]
    snr_range: tuple[float, float | None]


def noise_levels(schedule: Schedule, method: DiffusionClassifierMethod) -> NoiseLevels:
    """Return the range of `method` on a schedule, in t and in signal-to-noise ratios.

    Raises:
        ValueError: no time of the schedule has such a ratio.
    """
    t_range = time_range(schedule, method)
    if method.snr_range is not None:
        return NoiseLevels(t_range, method.snr_range)
    most, least = snr(schedule, np.asarray(t_range)).tolist()
    return NoiseLevels(t_range, (least, most if math.isfinite(most) else None))


def time_range(schedule: Schedule, method: DiffusionClassifierMethod) -> tuple[float, float]:
    """Return the range of t that draws of `method` have on a schedule.

    Raises:
        ValueError: no time of the schedule has such a ratio.
    """
    if method.snr_range is None:
        assert isinstance(method.t_range, tuple)  # a profile has resolved an automatic range by now
        return method.t_range
    least, most = method.snr_range
    low, high = first_at_most(schedule, most), first_at_most(schedule, least)
    if low >= high:
        quietest, loudest = snr(schedule, np.array([1.0, 0.0])).tolist()
        raise ValueError(
            f"snr_range [{least:g}, {most:g}] holds no time of the model's schedule, whose "
            f"signal-to-noise ratios go from {quietest:.3g} to {loudest:.3g}"
        )
    return low, high


def first_at_most(schedule: Schedule, ratio: float) -> float:
    """The first t in [0, 1] from which on the signal-to-noise ratio is at most `ratio`; 1: none.

    By bisection: between the steps of a chain this is where the step's slice begins.
    """
    low, high = 0.0, 1.0
    if snr(schedule, np.array([low]))[0] <= ratio:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if snr(schedule, np.array([middle]))[0] > ratio:
            low = middle
        else:
            high = middle
    return high


def snr(schedule: Schedule, t: Array) -> Array:
    """The signal-to-noise ratio alpha^2 / sigma^2 at times; inf where there is no noise."""
    alpha, sigma = schedule.alpha_sigma(schedule.snap(t))
    with np.errstate(divide="ignore"):
        ratio: Array = (alpha / sigma) ** 2
    return ratio
