"""Mean-per-class accuracy: each class counts once, however many images it has.

Shapes: K classes; those without images are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zsd_ray.stats.intervals import Interval, wilson


@dataclass(frozen=True)
class ClassAccuracy:
    """The mean of the accuracies of `n_classes` classes, with its interval.

    value: None without images; the interval is then (0, 1).
    """

    n_classes: int
    value: float | None
    interval: Interval


def class_accuracy(
    counts: ArrayLike, successes: ArrayLike, confidence: float = 0.95
) -> ClassAccuracy:
    """Return the class accuracy from images and correct images by class, (K,) and (K,) integers.

    The classes are fixed and each one's images a sample of its own, so with accuracies p_k of n_k
    images the mean over K classes varies as a stratified sample's (Cochran 1977, chapter 5): by

        V = 1/K^2 sum_k v_k / n_k,    v_k = p_k (1 - p_k).

    With the observed p_k, v_k is too small by its n_k-th part on average, and 0 for a class with
    all images right or all wrong, so always for one with a single image. The missing part is added
    from all classes together, with their mean accuracy p: v_k = p_k (1 - p_k) + p (1 - p) / n_k.
    This is right on average if classes are alike, and too large rather than too small if they
    differ, since p (1 - p) is at least the mean of p_k (1 - p_k).

    The interval is Wilson's, with the number of trials that has this variance, p (1 - p) / V (the
    effective sample size of surveys, Kish 1965). So it lies in [0, 1], holds the
    estimate, has a width even where all images are right, and is the plain accuracy's where classes
    are alike and equally large.
    """
    n, right = (np.asarray(values, dtype=np.float64) for values in (counts, successes))
    seen = n > 0
    n, right = n[seen], right[seen]
    n_classes = len(n)
    if n_classes == 0:
        return ClassAccuracy(0, None, Interval(0.0, 1.0))
    shares = right / n
    mean = float(shares.mean())
    # v_k over p (1 - p): where all are right, or all wrong, classes are alike, and it is 1.
    spread = mean * (1 - mean)
    own = shares * (1 - shares) / spread + 1 / n if spread else np.ones(n_classes)
    trials = float(n_classes**2 / np.sum(own / n))
    return ClassAccuracy(n_classes, mean, wilson(mean * trials, trials, confidence))
