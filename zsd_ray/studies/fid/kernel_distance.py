"""The kernel distance of two sets of features (KID, Binkowski et al. 2018)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SUBSET = 1000
N_SUBSETS = 100

Features = NDArray[np.floating]


class KernelDistance(NamedTuple):
    """mean over subsets, and its standard error; None where there is one subset alone."""

    mean: float
    standard_error: float | None
    subset: int
    n_subsets: int


def kernel_distance(real_ND: Features, generated_MD: Features, seed: int) -> KernelDistance:
    """The mean of MMD^2 over random subsets of 1,000 of each set, or of as many as the smaller has.

    Subsets are drawn without replacement, each anew; where both sets are one subset, there is one.
    The standard error is the spread over subsets by the root of their number: they share images, so
        it measures how well subsets separate these two sets, and not the variation over other sets.
    """
    size = min(SUBSET, len(real_ND), len(generated_MD))
    whole = size == len(real_ND) == len(generated_MD)
    random = np.random.Generator(np.random.Philox(seed))
    found = []
    for _ in range(1 if whole else N_SUBSETS):
        real = real_ND[random.choice(len(real_ND), size, replace=False)]
        generated = generated_MD[random.choice(len(generated_MD), size, replace=False)]
        found.append(squared_mmd(real, generated))
    error = None if whole else float(np.std(found, ddof=1) / np.sqrt(len(found)))
    return KernelDistance(float(np.mean(found)), error, size, len(found))


def squared_mmd(x_MD: Features, y_ND: Features) -> float:
    """The unbiased estimate (Gretton et al. 2012, eq. 3) with k(x, y) = (x . y / D + 1)^3
    (Binkowski et al. 2018, eq. 4); float64. Below 0 by chance where the two are alike."""
    x, y = np.asarray(x_MD, dtype=np.float64), np.asarray(y_ND, dtype=np.float64)
    within = (_mean_off_diagonal(_kernel(x, x)), _mean_off_diagonal(_kernel(y, y)))
    return float(sum(within) - 2 * _kernel(x, y).mean())


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = (x @ y.T / x.shape[1] + 1) ** 3
    return values


def _mean_off_diagonal(kernel: NDArray[np.float64]) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
