"""The results of a run as arrays, from which a calibration computes probabilities."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """N images, K classes; a class without draws has nan, and 0 draws.

    mean_scores: (N, K), each class over its own draws; lower is better.
    gaps, gap_errors: (N, K), class less prediction: the mean over the draws that both had, and its
        standard error, nan where it is not known.
    draws: (N, K) of each class.
    predictions: (N,) class numbers.
    n_evaluations: (N,) the cost of each image.
    """

    mean_scores: Array
    gaps: Array
    gap_errors: Array
    draws: NDArray[np.int64]
    predictions: NDArray[np.int64]
    n_evaluations: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def n_classes(self) -> int:
        return int(self.mean_scores.shape[1])

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Return (N, K), which classes had draws; the prediction counts, if only a screen chose
        it."""
        scored = self.draws > 0
        scored[np.arange(len(self)), self.predictions] = True
        return scored

    @property
    def others(self) -> NDArray[np.bool_]:
        """Return (N, K), which classes with draws are not the prediction."""
        others = self.draws > 0
        others[np.arange(len(self)), self.predictions] = False
        return others

    def select(self, images: NDArray[np.intp] | slice) -> Self:
        """Return some of the images."""
        return type(self)(**{f.name: getattr(self, f.name)[images] for f in fields(self)})
