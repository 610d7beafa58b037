"""Whether a classifier favours some classes: shares of predictions against shares of labels.

Shapes: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr


@dataclass(frozen=True)
class ClassBias:
    """Counts of labels and predictions by class, and which of them differ significantly.

    labels, predictions: (K,) images of each class by either; n: all images.

    significant: (K,) bool, classes that are predicted significantly too often or too rarely.
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    n: int
    significant: NDArray[np.bool_]

    @property
    def excess(self) -> NDArray[np.float64]:
        """Return the share of predictions less the share of labels, (K,)."""
        excess: NDArray[np.float64] = (self.predictions - self.labels) / max(self.n, 1)
        return excess


def class_bias(labels: ArrayLike, predictions: ArrayLike, n_classes: int) -> ClassBias:
    """Return the class bias from the label and the prediction of each image, (N,) and (N,).

    Class k is predicted as often as it is a label if as many images of other classes are taken for
    it as images of it for others: without bias, each of these is either with probability 1/2. The
    exact two-sided test of that (McNemar 1947, class k against all others) is at 5 % over the
    number of classes among labels or predictions (Bonferroni), so the findings hold jointly.
    """
    labels, predictions = (np.asarray(values, dtype=np.int64) for values in (labels, predictions))
    right = np.bincount(labels[labels == predictions], minlength=n_classes)
    of_label = np.bincount(labels, minlength=n_classes)
    of_prediction = np.bincount(predictions, minlength=n_classes)
    lost, won = of_label - right, of_prediction - right
    fewer, tosses = np.minimum(lost, won), lost + won
    p = np.where(tosses > 0, np.minimum(1.0, 2 * bdtr(fewer, np.maximum(tosses, 1), 0.5)), 1.0)
    n_named = int(((of_label + of_prediction) > 0).sum())
    return ClassBias(
        of_label.astype(np.int64),
        of_prediction.astype(np.int64),
        len(labels),
        p <= 0.05 / max(n_named, 1),
    )
