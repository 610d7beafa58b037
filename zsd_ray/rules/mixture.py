"""Anytime-valid evidence that the mean of paired differences is above 0, and bounds on that mean.

Differences are N(mu, sigma^2), both unknown. Under the alternative mu / sigma is N(0, scale^2), a
normal mixture (Robbins 1970); sigma^2 has a moderated prior (moderation.py), or with df 0 the
scale-invariant one. Then the likelihood of the differences, averaged over the alternative, over
that at mu = 0 is

    (1 + n scale^2)^(-1/2) (1 - S^2 g / (d s^2 + V))^(-(n + d) / 2),   g = scale^2 / (1 + n scale^2)

with S the sum of the n differences, V the sum of their squares, d and s^2 the prior's (Lai 1976;
Wang & Ramdas 2024, "Anytime-valid t-tests and confidence sequences", for d = 0). Keeping the half
mu > 0 of the mixture doubles it times the posterior probability of that half, a Student cdf. As a
ratio of likelihoods it is a martingale of mean 1 at mu = 0, so the probability that it ever
reaches 1 / alpha is at most alpha (Ville 1939), however often one looks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsd_ray.rules.gaps import Gaps
from zsd_ray.stats.moderation import Prior

Array = NDArray[np.float64]


def log_evidence(gaps: Gaps, prior: Prior, scale: float) -> Array:
    """Return the log evidence that each class is worse than the leader, (K,) float64.

    Args:
        scale: of mu / sigma under the alternative.
    """
    from scipy.special import stdtr  # a configuration is read without it

    n, total = gaps.n, gaps.n * gaps.mean
    spread = prior.df * prior.variance + gaps.squares + n * gaps.mean**2
    df = n + prior.df
    with np.errstate(divide="ignore", invalid="ignore"):
        g = scale**2 / (1 + n * scale**2)
        left = 1 - total**2 * g / spread
        log_ratio = -0.5 * np.log1p(n * scale**2) - 0.5 * df * np.log(left)
        t = total * np.sqrt(g * df / (spread * left))
        evidence = log_ratio + np.log(2 * stdtr(df, t))
    return np.where(spread > 0, evidence, 0.0)  # of equal scores, none


def half_width(gaps: Gaps, prior: Prior, scale: float, alpha: float) -> tuple[Array, Array]:
    """Return the half width of a confidence sequence for each mean, at 1 - alpha over all times.

    It is (K,), infinite at first, and holds the m for which the ratio above, of differences less m
    and with both halves, stays below 1 / alpha. Also returns the moderated standard deviation of an
    observation, (K,).
    """
    n, df = gaps.n, gaps.n + prior.df
    about = prior.df * prior.variance + gaps.squares
    reach = 1 - (alpha / np.sqrt(1 + n * scale**2)) ** (2 / df)
    room = n * scale**2 / (1 + n * scale**2) - reach
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(room > 0, np.sqrt(reach * about / (n * room)), np.inf)
        deviation = np.sqrt(about / (df - 1))
    return width, deviation
