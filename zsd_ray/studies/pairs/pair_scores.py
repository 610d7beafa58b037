"""Winoground's scores: two images and two captions, of which each fits one (Thrush et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsd_ray.stats.intervals import Interval, wilson

CHANCE = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
"""Of scores that say nothing: four numbers in random order meet the inequalities so often."""


@dataclass(frozen=True)
class PairShare:
    """The share of examples that are right, with its Wilson 95% interval."""

    right: int
    share: float
    interval: Interval


@dataclass(frozen=True)
class PairScores:
    """Over `examples`; `group` asks for both others at once."""

    examples: int
    text: PairShare
    image: PairShare
    group: PairShare


def pair_scores(errors_E22: ArrayLike) -> PairScores:
    """Text, image and group score, equations 1 to 3, with errors where the paper has similarities.

    The text score compares the captions of one image, the image score the images of one caption.
    Of equal errors neither is right.

    Args:
        errors_E22: of each example by (image, caption); lower is better, caption i fits image i.

    Raises:
        ValueError: another shape, no example, or an error that is not finite.
    """
    errors: NDArray[np.float64] = np.asarray(errors_E22, dtype=np.float64)
    if errors.ndim != 3 or errors.shape[1:] != (2, 2) or not len(errors):
        raise ValueError(f"needs one example or more of 2 x 2 errors, but came {errors.shape}")
    if not np.isfinite(errors).all():
        raise ValueError("needs finite errors")
    own_E2 = errors[:, [0, 1], [0, 1]]
    other_caption_E2 = errors[:, [0, 1], [1, 0]]
    other_image_E2 = errors[:, [1, 0], [0, 1]]
    text_E = np.all(own_E2 < other_caption_E2, axis=1)
    image_E = np.all(own_E2 < other_image_E2, axis=1)
    return PairScores(len(errors), _share(text_E), _share(image_E), _share(text_E & image_E))


def _share(right_E: NDArray[np.bool_]) -> PairShare:
    n = int(np.count_nonzero(right_E))
    return PairShare(n, n / len(right_E), wilson(n, len(right_E)))
