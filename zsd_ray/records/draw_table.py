"""Draws as packages exchange them: the time, noise level and weight of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

_T, _ALPHA, _SIGMA, _WEIGHT = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """n draws of one image, shared by all its classes: x_t = alpha x_0 + sigma eps.

    table: (n, 4) float64; its columns, each (n,), are t, alpha, sigma and weight. One array,
        because many small arrays are slow to send.
    """

    table: NDArray[np.float64]

    @classmethod
    def of(cls, t: ArrayLike, alpha: ArrayLike, sigma: ArrayLike, weight: ArrayLike) -> Self:
        """Return the table with these columns."""
        return cls(np.column_stack([t, alpha, sigma, weight]).astype(np.float64, copy=False))

    @classmethod
    def blank(cls, n: int) -> Self:
        """Return n draws whose values are not known yet."""
        return cls(np.zeros((n, 4)))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, some: slice) -> Draws:
        """Return some of the draws, as a view."""
        return Draws(self.table[some])

    @property
    def t(self) -> NDArray[np.float64]:
        return self.table[:, _T]

    @property
    def alpha(self) -> NDArray[np.float64]:
        return self.table[:, _ALPHA]

    @property
    def sigma(self) -> NDArray[np.float64]:
        return self.table[:, _SIGMA]

    @property
    def weight(self) -> NDArray[np.float64]:
        return self.table[:, _WEIGHT]

    def scores(self, errors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return w(t) * error; lower is better (Clark & Jaini 2023, eq. 2; Li et al. 2023, eq. 6).

        Args:
            errors: (n, k), for k classes.

        Returns:
            (n, k) float64.
        """
        scores: NDArray[np.float64] = self.table[:, _WEIGHT, None] * errors
        return scores
