"""The results of `zsd-ray self-check`, as records."""

from __future__ import annotations

from dataclasses import dataclass

from zsd_ray.analysis.comparison import Figures


@dataclass(frozen=True)
class LevelAccuracy:
    """Draws between two signal-to-noise ratios, of all labelled images that have all scores.

    snr_low, snr_high: the ends.
    accuracy: the share of the draws in which no class has a smaller error than the true one; low,
        high: its Wilson 95% interval, as if draws of one image were independent. None: there are
        no draws.
    """

    snr_low: float
    snr_high: float
    draws: int
    accuracy: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SelfCheck:
    """What a model does on images that it made, `own`, and on the user's, `data`.

    page: the report's path or URL, without passwords.
    images_per_class: that were made; draws: of every class for each image of either set.
    own_levels, data_levels: by noise level, the same levels.
    evaluations: of this call, those that made the images too.
    """

    page: str
    images_per_class: int
    draws: int
    n_classes: int
    own: Figures
    data: Figures
    own_levels: tuple[LevelAccuracy, ...]
    data_levels: tuple[LevelAccuracy, ...]
    evaluations: int
