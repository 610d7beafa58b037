"""A piecewise-constant density of t for draws, and its importance correction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsd_ray.config.time_profile import TimeProfile
from zsd_ray.diffusion.schedule import Array

MEASURED_SHARE, USUAL_SHARE = 0.1, 0.2
"""Of the draws, how many are uniform, where the spread was measured on the model and where it is
the usual one. The share bounds what one draw can weigh by its inverse times its uniform weight, so
that a spread that is wrong somewhere costs draws and not the estimate (defensive mixtures,
Hesterberg 1995, Technometrics 37, 185)."""

USUAL_SNR = 0.4
"""Where `usual_spread` turns, as it fits the models of benchmarks/panel.py together."""

_BUCKETS = 40  # of a density without a profile
_PROBED = 64  # times in a bucket at which weighting and spread are looked at


def bucket_of(edges: ArrayLike, t: Array) -> NDArray[np.intp]:
    """Return the bucket of each t; times outside belong to the nearest."""
    return np.clip(np.searchsorted(edges, t, side="right") - 1, 0, np.size(edges) - 2)


@dataclass(frozen=True)
class TimeDensity:
    """Bucket b, from edges[b] to edges[b + 1], has a share mass[b] > 0 of the draws, spread evenly.

    edges: (B + 1,), mass: (B,), float64; mass sums to 1.
    """

    edges: Array
    mass: Array

    def quantile(self, u: Array) -> Array:
        """Return the t below which a share u of the draws lies."""
        t: Array = np.interp(u, np.concatenate([[0.0], np.cumsum(self.mass)]), self.edges)
        return t

    def correction(self, t: Array) -> Array:
        """Return the uniform density over this one: its mean over draws, times f(t), is f's mean.

        E_q[f(t) p(t) / q(t)] = E_p[f(t)] with p uniform (Owen 2013, Monte Carlo, section 9.1).
        """
        share = np.diff(self.edges) / (self.edges[-1] - self.edges[0])
        correction: Array = (share / self.mass)[bucket_of(self.edges, t)]
        return correction


def usual_spread(snr: Array) -> Array:
    """How far the eps-errors of one draw lie apart over classes, by the signal-to-noise ratio.

    Up to a factor, r / (1 + r)^(3/2) with r = SNR / USUAL_SNR. Two classes' predictions of eps
    differ by sqrt(SNR) times what their predictions of x_0 do, and the noise of a difference of
    errors is in proportion to that. In noise a prediction of x_0 keeps little of its class
    (sqrt(SNR) more with the first order of x_t); near the image it follows from x_t, whatever the
    class: classes then differ by 1 / SNR. What lies between was measured
    (docs/measurements/statistics.md).
    """
    with np.errstate(invalid="ignore"):
        r = snr / USUAL_SNR
        spread: Array = np.where(np.isinf(r), 0.0, r / (1 + r) ** 1.5)
    return spread


def profile_spread(profile: TimeProfile, t: Array) -> Array:
    """Return the spread at times from a profile; times outside it belong to the nearest bucket."""
    return np.asarray(profile.sd)[bucket_of(profile.edges, t)]


def importance_density(
    t_range: tuple[float, float],
    weight: Callable[[Array], Array],
    spread: Callable[[Array], Array],
    uniform_share: float,
    edges: Sequence[float] = (),
) -> TimeDensity:
    """Return q(t) in proportion to w(t) sd(t), mixed with a share of a uniform density.

    Without the mixture it is the density of least variance (Owen 2013, Monte Carlo, section 9.1)
    for the mean of scores less their mean over classes, whose root mean square at t is w(t) sd(t).

    Args:
        weight, spread: w and sd at an array of times, the latter up to a factor.
        edges: of the buckets in which the spread is constant; none: it is a smooth function.
    """
    low, high = t_range
    if not len(edges):
        edges = np.linspace(low, high, _BUCKETS + 1).tolist()
    kept = np.unique([low, *np.clip(edges, low, high), high])
    within = (np.arange(_PROBED) + 0.5) / _PROBED
    probes = kept[:-1, None] + np.diff(kept)[:, None] * within
    scale = weight(probes.ravel()) * spread(probes.ravel())
    rms = np.sqrt((scale.reshape(probes.shape) ** 2).mean(axis=1))
    share = np.diff(kept) / (high - low)
    wanted = share * rms
    return TimeDensity(kept, (1 - uniform_share) * wanted / wanted.sum() + uniform_share * share)
