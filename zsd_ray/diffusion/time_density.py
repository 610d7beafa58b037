"""A piecewise-constant density of t: where draws go, and what makes up for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsd_ray.diffusion.schedule import Array
from zsd_ray.spec.method import TimeProfile

UNIFORM_SHARE = 0.1
"""Of the draws. It bounds what one draw can weigh by 1 / UNIFORM_SHARE times its uniform weight, so
that a profile that is wrong somewhere costs draws and not the estimate (defensive mixtures,
Hesterberg 1995, Technometrics 37, 185)."""

_PROBED = 64  # times in a bucket at which the weighting is looked at


def bucket_of(edges: ArrayLike, t: Array) -> NDArray[np.intp]:
    """Return the bucket that each t is in; what lies outside belongs to the nearest."""
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


def importance_density(
    profile: TimeProfile, t_range: tuple[float, float], weight: Callable[[Array], Array]
) -> TimeDensity:
    """Return q(t) in proportion to w(t) sd(t), mixed with UNIFORM_SHARE of a uniform density.

    Without the mixture it is the density of least variance (Owen 2013, Monte Carlo, section 9.1)
    for the mean of scores less their mean over classes, whose root mean square at t is w(t) sd(t).

    Args:
        t_range: times; what lies outside the profile's buckets belongs to the nearest.
        weight: w at an array of times.
    """
    low, high = t_range
    edges = np.unique([low, *np.clip(profile.edges, low, high), high])
    within = (np.arange(_PROBED) + 0.5) / _PROBED
    probes = edges[:-1, None] + np.diff(edges)[:, None] * within
    rms_weight = np.sqrt((weight(probes.ravel()).reshape(probes.shape) ** 2).mean(axis=1))
    sd = np.asarray(profile.sd)[bucket_of(profile.edges, probes[:, 0])]
    share = np.diff(edges) / (high - low)
    wanted = share * rms_weight * sd
    return TimeDensity(edges, (1 - UNIFORM_SHARE) * wanted / wanted.sum() + UNIFORM_SHARE * share)
