"""The accuracy of the worst class or group, with an interval that corrects for the selection.

Shapes: K classes or groups; those without images are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zsd_ray.stats.intervals import Interval, wilson


@dataclass(frozen=True)
class Worst:
    """The least accurate of `n_seen` classes: its number, accuracy and images, and the interval of
    the least accuracy of all."""

    number: int
    value: float
    images: int
    n_seen: int
    interval: Interval


def worst_accuracy(
    counts: ArrayLike, successes: ArrayLike, confidence: float = 0.95
) -> Worst | None:
    """Return the worst class, from each class's images and correct images, (K,) and (K,) integers.

    Returns None without images.

    The least of K observed accuracies is low partly by chance, so its own interval would be too
    low. Each class gets the interval at 1 - (1 - confidence) / K; all of them hold at once with at
    least the confidence (Bonferroni), and then the least true accuracy lies between the least of
    the lower ends and the least of the upper ends. Of equal classes the one with more images counts
    as worst, and the first of those.
    """
    n, right = (np.asarray(values, dtype=np.int64) for values in (counts, successes))
    seen = np.flatnonzero(n)
    if not len(seen):
        return None
    each = 1 - (1 - confidence) / len(seen)
    ends = [wilson(int(right[k]), int(n[k]), each) for k in seen]
    interval = Interval(min(end.low for end in ends), min(end.high for end in ends))
    worst = int(min(seen, key=lambda k: (right[k] / n[k], -n[k], k)))
    return Worst(worst, float(right[worst] / n[worst]), int(n[worst]), len(seen), interval)
