"""Grey pictures of more than 8 bits: finding the level of white.

It is known for 16 bits. For 32 bits or floats it is not, so the range is the least of the customary
ones that holds all levels. If a picture would show almost nothing in it, the picture is refused,
and does not silently become black or white.
Shapes: H, W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from zsd_ray.records.errors import ImageError

Levels = NDArray[np.generic]

_CUSTOMARY = (255, 65535)
_SHARE = 1
"""What is white where floats are shares of it."""

_DARKEST = 16
"""A picture whose lightest level is below this part of the range shows next to nothing."""

_AT_ONCE = 1 << 20
"""Pixels that are scaled at once: a large picture needs little more memory than its own."""

_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey with more than 8 bits."""
    return image.mode == "F" or image.mode.split(";")[0] == "I"


def to_grey(image: Image.Image) -> Image.Image:
    """Scale a deep picture to 8 bits, mode L; its transparent level, if any, becomes white.

    Raises:
        ImageError: a level is not finite, or the level of white is unknown.
    """
    levels = np.asarray(image)
    _check_finite(levels)
    top = _declared_top(image)
    if top is None:
        top = _guessed_top(levels)
    elif not _shows_something(highest := int(levels.max()), top):
        raise ImageError(
            f"its levels go up to {highest:,} of {top:,}, which shows next to nothing; save it "
            "with 8 bits, or scaled to the whole range"
        )
    grey = _scaled(levels, top)
    if _tags(image).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[levels == transparent] = 255
    return Image.fromarray(grey)


def check_finite(image: Image.Image) -> None:
    """Raise ImageError if a level is infinite or NaN."""
    if image.mode == "F":
        _check_finite(np.asarray(image))


def _check_finite(levels: Levels) -> None:
    if not np.isfinite(levels).all():
        raise ImageError("some of its levels are infinite or no numbers (NaN); repair the file")


def _declared_top(image: Image.Image) -> int | None:
    """Return the level of white that the file declares; None if it declares none."""
    bits = _tags(image).get(_BITS)
    if bits == (12,):
        return 4095
    # Pillow scales a PGM to 16 bits, and reads a PNG of 16 bits as it is.
    sixteen = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
    return 65535 if sixteen and image.mode != "F" else None


def _guessed_top(levels: Levels) -> int:
    lowest, highest = levels.min().item(), levels.max().item()
    of_floats = levels.dtype.kind == "f"
    ranges = (_SHARE, *_CUSTOMARY) if of_floats else _CUSTOMARY
    for top in ranges:
        slack = top / 510 if of_floats else 0  # half a level of 8 bits, to which it is rounded
        if lowest >= -slack and highest <= top + slack:
            if _shows_something(highest, top):
                return top
            break
    wanted = " or ".join(f"0 .. {top}" for top in ranges)
    raise ImageError(
        f"its levels go from {lowest:g} to {highest:g}, and which of them is white is not known; "
        f"save it with 8 bits, or scaled to {wanted}"
    )


def _shows_something(highest: float, top: int) -> bool:
    """Whether a picture has visible content in a range; an all-black one is black in every
    range."""
    return highest <= 0 or highest * _DARKEST >= top


def _scaled(levels_HW: Levels, top: int) -> NDArray[np.uint8]:
    grey = np.empty(levels_HW.shape, np.uint8)
    step = max(1, _AT_ONCE // max(1, levels_HW.shape[1]))
    for row in range(0, len(levels_HW), step):
        shares = levels_HW[row : row + step].astype(np.float64) / top
        grey[row : row + step] = np.round(np.clip(shares, 0, 1) * 255)
    return grey


def _tags(image: Image.Image) -> TiffImagePlugin.ImageFileDirectory_v2 | dict[int, object]:
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
