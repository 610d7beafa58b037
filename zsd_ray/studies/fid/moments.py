"""Mean and covariance of vectors that are seen in parts, in any order and on any machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean (D,) of n vectors, and their summed squared deviations from it, (D, D).

    float64; kept about the mean, so that what is large and common to all vectors costs no digits.
    """

    n: int
    mean: Array
    deviations: Array

    @classmethod
    def of(cls, vectors_ND: NDArray[np.floating]) -> Self:
        """The moments of one part, of at least one vector."""
        vectors = np.asarray(vectors_ND, dtype=np.float64)
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        return cls(len(vectors), mean, centred.T @ centred)

    def merged(self, other: Moments) -> Moments:
        """The moments of both parts together (Chan, Golub & LeVeque 1983, eq. 2.1b, for vectors).

        S = S_a + S_b + (n_a n_b / n) d d^T,  mean = mean_a + (n_b / n) d,  d = mean_b - mean_a
        """
        n = self.n + other.n
        d = other.mean - self.mean
        return Moments(
            n,
            self.mean + d * (other.n / n),
            self.deviations + other.deviations + np.outer(d, d) * (self.n * other.n / n),
        )

    @property
    def covariance(self) -> Array:
        """Unbiased, (D, D): over n - 1; needs two vectors."""
        assert self.n > 1
        covariance: Array = self.deviations / (self.n - 1)
        return covariance
