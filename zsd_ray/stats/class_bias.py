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
    """labels, predictions: (K,) images of each class by either; n: all images.

    significant: (K,) bool, classes that are predicted too often or too rarely to be chance.
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    n: int
    significant: NDArray[np.bool_]

    @property
    def excess(self) -> NDArray[np.float64]:
        """(K,) share of predictions less share of labels."""
        excess: NDArray[np.float64] = (self.predictions - self.labels) / max(self.n, 1)
        return excess


def class_bias(labels: ArrayLike, predictions: ArrayLike, n_classes: int) -> ClassBias:
    """From the label and the prediction of each image, (N,) and (N,).

    Class k is predicted as often as it is a label where as many images of others are taken for it
    as images of it for others: each of these is either by the toss of a coin. The exact two-sided
    test of that (McNemar 1947, for class k against all others) at 5 % over the number of classes
    that either names (Bonferroni), so that the classes named as significant are so together.
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
