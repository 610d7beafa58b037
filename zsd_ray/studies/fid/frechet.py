"""The Frechet distance between two Gaussians, and so the FID of two sets of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

from zsd_ray.studies.fid.moments import Array, Moments


class Reference:
    """One of the two, of which a root is taken once.

    With C = F F^T, the trace of (C C')^(1/2) is the sum of the square roots of the eigenvalues of
    F^T C' F: it has those of C C', but for zeros, and is symmetric. So nothing becomes complex, and
    covariances of less than full rank are no exception, but cheaper.
    """

    def __init__(self, moments: Moments) -> None:
        self._mean = moments.mean
        self._trace = float(np.trace(moments.covariance))
        self._factor_DR = _factor(moments.covariance)

    def distance(self, other: Moments) -> float:
        """Heusel et al. 2017, eq. 6: |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))."""
        between = float(np.square(self._mean - other.mean).sum())
        covariance = other.covariance
        shared = np.linalg.eigvalsh(self._factor_DR.T @ covariance @ self._factor_DR)
        traces = self._trace + float(np.trace(covariance))
        return between + traces - 2 * float(np.sqrt(np.maximum(shared, 0.0)).sum())


def jackknife_error(reference: Reference, groups: Sequence[Moments]) -> float:
    """The standard error of the distance to the union of groups, each left out in turn.

    ((G - 1) / G sum_g (d_g - mean d)^2)^(1/2): the delete-a-group jackknife (Shao & Tu 1995,
    section 2.3). It knows the chance in these groups' images alone: the reference is taken as it
    is, and the bias of the distance, alike in all d_g, is not in it.
    """
    without = []
    for left_out in range(len(groups)):
        rest = [group for number, group in enumerate(groups) if number != left_out]
        without.append(reference.distance(merged(rest)))
    spread = np.square(np.array(without) - np.mean(without)).sum()
    return float(np.sqrt(spread * (len(groups) - 1) / len(groups)))


def interval(distance: float, error: float, n_groups: int) -> tuple[float, float]:
    """95 %, by Student's t with one degree of freedom less than there are groups; not below 0."""
    reach = float(student_t.ppf(0.975, n_groups - 1)) * error
    return max(0.0, distance - reach), distance + reach


def merged(parts: Sequence[Moments]) -> Moments:
    """The moments of several parts together."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merged(part)
    return whole


def _factor(covariance: Array) -> Array:
    """F of C = F F^T, a column for each eigenvalue that is more than rounding."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    factor: Array = vectors[:, kept] * np.sqrt(values[kept])
    return factor
