"""The paired comparison of two classifiers on the same images.

With b images that only the first gets right, c that only the second does, and n in all, the
difference of their accuracies is (c - b) / n: images that both get right, or both wrong, do not
contribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from zsd_ray.stats.intervals import Interval

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Discordance:
    """Counts of images: n with a label; b where only the first is right; c only the second."""

    n: int
    b: int
    c: int

    @classmethod
    def of(cls, first: ArrayLike, second: ArrayLike) -> Discordance:
        """Count from two (n,) bool arrays of correct predictions, in the same order of images."""
        first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
        if first.shape != second.shape:
            raise ValueError(f"needs the same images, but came {first.size} and {second.size}")
        only_first = int(np.count_nonzero(first & ~second))
        return cls(first.size, only_first, int(np.count_nonzero(second & ~first)))

    @property
    def difference(self) -> float:
        """Return the second accuracy less the first; nan without images."""
        return (self.c - self.b) / self.n if self.n else float("nan")


def mcnemar(found: Discordance) -> float:
    """Return the exact two-sided p of McNemar's test (1947); 1 if b + c is 0.

    If both are right equally often, each image that only one gets right is either's with
    probability 1/2: b ~ Binomial(b + c, 1/2), which is symmetric, so both tails are twice one.
    """
    tosses = found.b + found.c
    return min(1.0, 2.0 * float(bdtr(min(found.b, found.c), tosses, 0.5))) if tosses else 1.0


def bootstrap(found: Discordance, seed: int = 0, confidence: float = 0.95) -> Interval:
    """Return the percentile interval of the difference over resampled images (Efron & Tibshirani
    1993, chapter 13).

    An image adds -1, 0 or 1 to n times the difference, so n images drawn with replacement are one
    draw of Multinomial(n, (b, c, n - b - c) / n), without the images themselves. If b + c is 0, all
    resamples are equal and the interval is (0, 0); (-1, 1) without images.
    """
    if found.n == 0:
        return Interval(-1.0, 1.0)
    shares = np.array([found.b, found.c, found.n - found.b - found.c]) / found.n
    counts = np.random.default_rng(seed).multinomial(found.n, shares, size=_RESAMPLES)
    differences = (counts[:, 1] - counts[:, 0]) / found.n
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return Interval(float(low), float(high))
