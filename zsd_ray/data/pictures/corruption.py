"""Corrupted pictures: noise, blur, JPEG, brightness and contrast at five strengths.

Hendrycks & Dietterich 2019 (ICLR), appendix A, with the strengths of the programs that made their
sets: ImageNet-C's for pictures as large as ImageNet's, CIFAR-10-C's for small ones. The published
packages are not used, and some details differ: docs/decisions/2026-11-26-corruptions.md.
Shapes: H, W pixels, C channels: 3, or 1 of a picture without colour.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.config.data import CorruptionConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.pictures.changed import ChangedDataset
from zsd_ray.data.pictures.transforms import to_rgb, to_square
from zsd_ray.diffusion import draws
from zsd_ray.records.errors import ImageError
from zsd_ray.records.scores import ImageRecord

Levels = NDArray[np.uint8]
Shares = NDArray[np.float64]

SIDE = 224
"""Large pictures are cut to SIDE x SIDE first, as those of ImageNet-C are."""

SMALL = 64
"""The shorter side of the largest picture that is small."""

MOST_PIXELS = 1 << 22
"""The most pixels of a small picture, which is not cropped: corruption takes 100 bytes for each."""


class CorruptedDataset(ChangedDataset):
    """A data set whose pictures are corrupted: RGB, or grey if a picture has no colour."""

    def __init__(self, dataset: ImageDataset, corruption: CorruptionConfig) -> None:
        super().__init__(dataset)
        self._corruption = corruption

    def _change(self, picture: Image.Image, record: ImageRecord) -> Image.Image:
        return corrupt(picture, record.image_id, self._corruption)


def corrupt(picture: Image.Image, image_id: str, corruption: CorruptionConfig) -> Image.Image:
    """Return the corrupted picture, mode RGB, or L without colour; a function of its arguments
    only.

    Transparency is laid over white, and a large picture is cut to its middle SIDE x SIDE pixels.

    Raises:
        ImageError: as `to_rgb`, or a small picture is too long.
    """
    rgb = to_rgb(picture)
    width, height = rgb.size
    if min(width, height) <= SMALL and width * height > MOST_PIXELS:
        raise ImageError(
            f"{width} x {height} pixels are too long a picture to corrupt: {MOST_PIXELS:,} pixels "
            f"at most where a side has {SMALL} or fewer; cut it"
        )
    levels = np.asarray(rgb) if min(rgb.size) <= SMALL else to_square(rgb, SIDE)
    if Image.getmodebase(picture.mode) == "L":
        levels = levels[..., :1]
    kind = _KINDS[corruption.kind]
    strengths = kind.small if min(rgb.size) <= SMALL else kind.large
    try:
        shares = kind.apply(levels, strengths[corruption.strength - 1], image_id)
    except Exception as error:  # a JPEG has 65,500 pixels a side at most
        raise ImageError(
            f"{width} x {height} pixels cannot be corrupted by {corruption.kind} ({error})"
        ) from error
    corrupted = np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(corrupted[..., 0] if corrupted.shape[-1] == 1 else corrupted)


def _gaussian_noise(levels_HWC: Levels, scale: float, image_id: str) -> Shares:
    """Add noise that is the same at every strength up to its scale, on any machine, in any
    order."""
    # The name keeps it apart from the noise that a diffusion model is shown this image in.
    eps = draws.noise(0, f"gaussian-noise\0{image_id}", range(1), levels_HWC.shape)[0]
    noisy: Shares = levels_HWC / 255 + scale * eps.astype(np.float64)
    return noisy


def _gaussian_blur(levels_HWC: Levels, sigma: float, _: str) -> Shares:
    from scipy.ndimage import gaussian_filter

    shares: Shares = gaussian_filter(levels_HWC / 255, (sigma, sigma, 0), mode="nearest")
    return shares


def _jpeg(levels_HWC: Levels, quality: float, _: str) -> Shares:
    buffer = io.BytesIO()
    grey = levels_HWC.shape[-1] == 1
    Image.fromarray(levels_HWC[..., 0] if grey else levels_HWC).save(
        buffer, "JPEG", quality=int(quality)
    )
    decoded = np.asarray(Image.open(buffer, formats=["JPEG"])).reshape(levels_HWC.shape)
    shares: Shares = decoded / 255
    return shares


def _brightness(levels_HWC: Levels, more: float, _: str) -> Shares:
    """Raise the value (of HSV), a pixel's largest channel. With hue and saturation kept, the
    channels stay in proportion, and black becomes grey."""
    shares = levels_HWC / 255
    value = shares.max(axis=-1, keepdims=True)
    brighter = np.minimum(value + more, 1)
    ratio = np.divide(brighter, value, out=np.zeros_like(value), where=value > 0)
    lit: Shares = np.where(value > 0, shares * ratio, brighter)
    return lit


def _contrast(levels_HWC: Levels, factor: float, _: str) -> Shares:
    """Move pixels towards each channel's mean, summed in integers: the same on any machine."""
    n_pixels = levels_HWC.shape[0] * levels_HWC.shape[1]
    means = levels_HWC.sum(axis=(0, 1), dtype=np.int64) / (n_pixels * 255)
    flatter: Shares = (levels_HWC / 255 - means) * factor + means
    return flatter


class _Kind(NamedTuple):
    """A corruption, and its strengths 1 to 5 for large and for small pictures."""

    apply: Callable[[Levels, float, str], Shares]
    large: tuple[float, ...]
    small: tuple[float, ...]


# The names are those of `CorruptionConfig.kind` in config/data.py.
_KINDS = {
    "gaussian-noise": _Kind(
        _gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38), (0.04, 0.06, 0.08, 0.09, 0.10)
    ),
    "gaussian-blur": _Kind(_gaussian_blur, (1, 2, 3, 4, 6), (0.4, 0.6, 0.7, 0.8, 1)),
    "jpeg": _Kind(_jpeg, (25, 18, 15, 10, 7), (80, 65, 58, 50, 40)),
    "brightness": _Kind(_brightness, (0.1, 0.2, 0.3, 0.4, 0.5), (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": _Kind(_contrast, (0.4, 0.3, 0.2, 0.1, 0.05), (0.75, 0.5, 0.4, 0.3, 0.15)),
}
