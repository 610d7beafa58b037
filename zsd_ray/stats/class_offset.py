"""The estimate and removal of a model's bias for some classes, from unlabelled images.

A class can look likely whatever the image shows: its prompt fits the data set's style, say. Over
images the mean of a class's score, less that of all classes, is then below or above what its share
of the images explains. Subtracted from an image's scores it decides as if no class had that
advantage. It is known of CLIP (Zhu et al. 2024, Frolic, arXiv 2410.19294; Shi et al. 2024, OTTER,
arXiv 2404.08461). It takes the classes for about equally frequent, and it is transductive: it
needs other images of the same set.

Shapes: M images, N draws, K classes. Lower scores are better.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]

SCALE_DRAWS = 10
"""An image's first draws, of all classes, that tell the scale of its scores."""

LEAST_IMAGES = 4


def draw_scale(scores_NK: Array) -> float:
    """Return the standard deviation of one draw's scores about their mean over classes, pooled
    over classes and draws. Images whose classes lie far apart also have noisy draws."""
    apart = scores_NK - scores_NK.mean(axis=1, keepdims=True)
    return float(np.sqrt(apart.var(axis=0, ddof=1).mean()))


def class_deviations(scores_NK: Array) -> Array:
    """Return each class's mean score less that of all classes, in `draw_scale`s, (K,).

    0 if no draw distinguishes classes.
    """
    scale = draw_scale(scores_NK)
    apart = (scores_NK - scores_NK.mean(axis=1, keepdims=True)).mean(axis=0)
    deviations: Array = apart / scale if scale > 0 else np.zeros_like(apart)
    return deviations


@dataclass(frozen=True)
class ClassOffset:
    """The offsets of K classes, from the deviations of M images.

    An image's own scores never enter the offset that is applied to it (cross-fitting), so they
    cannot confirm themselves.

    ids: of the images, ascending; deviations: (M, K), as `class_deviations` of each.
    """

    ids: tuple[str, ...]
    deviations: Array

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.deviations) >= LEAST_IMAGES

    def of(self, image_id: str) -> Array:
        """Return the offset of each class for an image, in its draw scales, (K,)."""
        row = self._rows.get(image_id)
        total, squares, m = self._total, self._squares, len(self.ids)
        if row is not None:
            own = self.deviations[row]
            total, squares, m = total - own, squares - own**2, m - 1
        return _shrunk(total / m, _errors(total, squares, m))

    @property
    def mean(self) -> Array:
        """Return the mean over all images, unshrunk, (K,)."""
        mean: Array = self._total / len(self.ids)
        return mean

    @property
    def error(self) -> Array:
        """Return the standard error of each mean, (K,)."""
        return _errors(self._total, self._squares, len(self.ids))

    @property
    def shrinkage(self) -> float:
        """Return the share of the mean that is used; 0: all of it may be noise."""
        return _shrinkage(self.mean, self.error)

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Return whether each class's mean is significant: t-tests, at 5 % jointly (Bonferroni)."""
        m, k = self.deviations.shape
        limit = float(stdtrit(m - 1, 1 - 0.05 / (2 * k)))
        found: NDArray[np.bool_] = np.abs(self.mean) > limit * self.error
        return found

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}

    @cached_property
    def _total(self) -> Array:
        total: Array = self.deviations.sum(axis=0)
        return total

    @cached_property
    def _squares(self) -> Array:
        squares: Array = (self.deviations**2).sum(axis=0)
        return squares


def _errors(total: Array, squares: Array, m: int) -> Array:
    variance = np.maximum(squares - total**2 / m, 0.0) / (m - 1)
    errors: Array = np.sqrt(variance / m)
    return errors


def _shrinkage(mean: Array, error: Array) -> float:
    """Return 1 - noise / variance, at least 0: the share of K means' variance that is not noise
    (James & Stein 1961; Efron & Morris 1973, the empirical Bayes estimate)."""
    variance = float((mean**2).sum() / (len(mean) - 1))  # they sum to 0
    noise = float((error**2).mean())
    return max(0.0, 1 - noise / variance) if variance > 0 else 0.0


def _shrunk(mean: Array, error: Array) -> Array:
    return _shrinkage(mean, error) * mean
