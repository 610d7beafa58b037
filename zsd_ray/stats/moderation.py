"""Moderated variances: estimates from few values, improved by those of other classes and images.

Smyth 2004, "Linear models and empirical Bayes methods for assessing differential expression",
section 6: true variances are drawn from a scaled inverse chi-squared distribution with `df` degrees
of freedom about `variance`, and each sample variance is shrunk towards it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_DF = 10.0
"""The prior counts as so many observations at most: variances that are measured together, over
shared noise, look more alike than they are (benchmarks/error_control.py)."""


class Prior(NamedTuple):
    """The prior of a variance; df 0: no information."""

    df: float
    variance: float


NOTHING = Prior(0.0, 0.0)


def fit(variances: Array, df: Array | float) -> Prior:
    """Fit the prior of sample variances with `df` degrees of freedom; NOTHING from fewer than 3.

    By the moments of their logarithms: eq. 6.2 ff. of the paper.
    """
    from scipy.special import digamma, polygamma  # a configuration is read without it

    variances = np.asarray(variances, dtype=np.float64)
    df = np.broadcast_to(np.asarray(df, dtype=np.float64), variances.shape)
    seen = (variances > 0) & (df > 0)
    variances, df = variances[seen], df[seen]
    if len(variances) < 3:
        return NOTHING
    logs = np.log(variances) - digamma(df / 2) + np.log(df / 2)
    spread = logs.var(ddof=1) - polygamma(1, df / 2).mean()
    prior_df = MAX_DF
    if spread > 0:
        prior_df = min(MAX_DF, 2 * inverse_trigamma(spread))
    at = prior_df / 2
    return Prior(float(prior_df), float(np.exp(logs.mean() + digamma(at) - np.log(at))))


def inverse_trigamma(y: float) -> float:
    """Return x > 0 with trigamma(x) = y > 0, by Newton steps on 1 / trigamma (paper's appendix)."""
    from scipy.special import polygamma

    x = 0.5 + 1.0 / y
    for _ in range(50):
        value = float(polygamma(1, x))
        step = value * (1 - value / y) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-10:
            break
    return x
