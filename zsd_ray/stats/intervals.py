"""Confidence intervals of proportions and means."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit


class Interval(NamedTuple):
    low: float
    high: float


def wilson(successes: float, trials: float, confidence: float = 0.95) -> Interval:
    """Return the score interval of a proportion (Wilson 1927); (0, 1) without trials.

    The number of trials may be fractional, as an effective sample size is.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"needs 0 <= successes <= trials, but came {successes} of {trials}")
    if trials == 0:
        return Interval(0.0, 1.0)
    z = float(ndtri(0.5 + confidence / 2))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z
        / (1 + z * z / trials)
        * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    )
    # At 0 and at all successes the bound is exact; rounding would leave it a hair inside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(low, high)


def half_width(values: ArrayLike, confidence: float = 0.95) -> NDArray[np.float64]:
    """Return the half width of Student's interval of a mean over the last axis (2 or more)."""
    samples = np.asarray(values, dtype=np.float64)
    n = samples.shape[-1]
    if n < 2:
        raise ValueError(f"needs at least 2 values, but came {n}")
    quantile = float(stdtrit(n - 1, 0.5 + confidence / 2))
    width: NDArray[np.float64] = quantile * samples.std(axis=-1, ddof=1) / math.sqrt(n)
    return width
