"""Accuracy, confusion and surviving classes, from the arrays of a decisions table.

Shapes: N images, K classes, D numbers of draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]


def accuracy(correct: ArrayLike) -> float:
    """Return the share of true entries of (N,); nan if it is empty."""
    correct = np.asarray(correct, dtype=bool)
    return float(correct.mean()) if correct.size else float("nan")


def rank_of_label(scores: ArrayLike, labels: ArrayLike) -> IntArray:
    """Return each label's rank among the scores of its row, the largest first: (N, K), (N,) ->
    (N,); 0 is the first.

    Of equal scores the first class comes first. A label with score -inf has no rank: it gets K.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    own = scores[np.arange(len(scores)), labels][:, None]
    before = np.arange(scores.shape[1]) < labels[:, None]
    ranks: IntArray = np.count_nonzero((scores > own) | ((scores == own) & before), axis=1)
    ranks[np.isneginf(own[:, 0])] = scores.shape[1]
    return ranks


def per_class_accuracy(
    labels: ArrayLike, correct: ArrayLike, n_classes: int
) -> tuple[IntArray, IntArray]:
    """Return images and correct images of each class: (N,), (N,) -> (K,), (K,)."""
    labels = np.asarray(labels, dtype=np.int64)
    correct = np.asarray(correct, dtype=bool)
    counts = np.bincount(labels, minlength=n_classes)
    successes = np.bincount(labels[correct], minlength=n_classes)
    return counts.astype(np.int64), successes.astype(np.int64)


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, n_classes: int) -> IntArray:
    """Return the images of each (label, prediction): (N,), (N,) -> (K, K), one row per label."""
    labels = np.asarray(labels, dtype=np.int64)
    predictions = np.asarray(predictions, dtype=np.int64)
    cells = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    return cells.astype(np.int64).reshape(n_classes, n_classes)


def confused_pairs(
    labels: ArrayLike, predictions: ArrayLike, limit: int
) -> list[tuple[int, int, int]]:
    """Return the most frequent wrong (label, prediction, images), without the (K, K) matrix."""
    pairs = np.stack([np.asarray(labels), np.asarray(predictions)]).astype(np.int64)
    pairs, images = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1, return_counts=True)
    order = np.argsort(-images, kind="stable")[:limit]
    return [(int(pairs[0, i]), int(pairs[1, i]), int(images[i])) for i in order]


def survivors(
    draws_per_class: Sequence[ArrayLike], one_left: ArrayLike, draws: ArrayLike
) -> IntArray:
    """Return how many classes of each image are left after draws (D,): N rows of (K,) -> (N, D).

    Class k is left after d draws if it got more than d. From its last draw on, an image has one
    class left if `one_left` (N,) is true, else the classes that got the last draw.
    """
    draws = np.asarray(draws, dtype=np.int64)
    ends = np.asarray(one_left, dtype=bool)
    left = np.zeros((len(draws_per_class), draws.size), dtype=np.int64)
    for i, row in enumerate(draws_per_class):
        given = np.sort(np.asarray(row, dtype=np.int64))
        at_end = 1 if ends[i] else given.size - np.searchsorted(given, given[-1])
        left[i] = np.maximum(given.size - np.searchsorted(given, draws, side="right"), at_end)
    return left
