"""The transform of a model's own library, with limited sizes of intermediate pictures.

Most resize the shorter side and then cut the centre, so a strip of 1 x 40,000 pixels would become
224 x 8,960,000 first.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from PIL import Image

from zsd_ray.records.errors import ImageError

MOST_PIXELS = 1 << 26
"""Of the largest picture on the way: 256 MB in Pillow. At 224 pixels a strip of 1 x 1,337 fits."""


class LibraryTransform:
    """torchvision's, open_clip's or timm's `Compose` of steps."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """(3, H, W) float32.

        Raises:
            ImageError: the picture would become too large, or the library cannot transform it.
        """
        width, height = image.size
        made = largest(self._steps, width, height)
        if made > MOST_PIXELS:
            raise ImageError(
                f"{width} x {height} pixels are too long a picture: resized by its shorter side, "
                f"as the model wants, it has {made:,} pixels of {MOST_PIXELS:,} at most; cut it"
            )
        try:
            return cast(torch.Tensor, self._steps(image))
        except Exception as error:  # a side may become 0; the libraries raise what they like
            text = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(
                f"{width} x {height} pixels cannot be made ready for the model ({text})"
            ) from error


def largest(steps: Any, width: int, height: int) -> int:
    """Return the most pixels that the steps that resize by the shorter side make of a picture.

    Those that resize to a size, or by the longer side, make no more than the model's own input.
    """
    most = 0
    for step in steps.transforms:
        scale = _scale(step, width, height)
        if scale is not None:
            most = max(most, round(width * scale) * round(height * scale))
    return most


def _scale(step: Any, width: int, height: int) -> float | None:
    """Return the factor by which a step enlarges a picture to fill its size; None if it does
    not."""
    kind, size = type(step).__name__, getattr(step, "size", None)
    if kind == "Resize" and isinstance(size, int):
        return size / min(width, height)
    if kind == "ResizeKeepRatio" and step.longest < 1:
        high, wide = step.size
        return float(max(high / height, wide / width))
    return None
