"""Converting any decoded picture to the square, three-channel input array of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from zsd_ray.data.pictures.grey_levels import is_deep, to_grey
from zsd_ray.records.errors import ImageError

_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an upright RGB picture.

    EXIF rotation is applied, transparency is laid over white, deep grey is scaled to 8 bits
    (`grey_levels`), and all other modes of Pillow are converted as docs/reference/datasets.md says.

    Raises:
        ImageError: the colours are not known; the message does not name the file.
    """
    turn = _TO_UPRIGHT.get(_orientation(image))
    try:
        rgb = _colours(image)
    except ImageError:
        raise
    except Exception as error:  # Pillow's conversions raise AssertionError, KeyError and others
        text = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"its colours (mode {image.mode}) cannot be read ({text})") from error
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> Any:
    # ImageOps.exif_transpose also writes the EXIF block anew, and fails where it is damaged.
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - however a block is damaged, the pixels are good
        return 1


def _colours(image: Image.Image) -> Image.Image:
    """Return RGB, as stored."""
    if is_deep(image):
        return to_grey(image).convert("RGB")
    if image.mode == "P" and image.palette is None:
        raise ImageError("its pixels are numbers of colours, and the file has no palette")
    if image.mode == "La":  # Pillow converts it to LA alone
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def to_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize the shorter side to `size` (bicubic) and cut the centre: (size, size, 3) uint8.

    Raises:
        ImageError: as `to_rgb`.
    """
    image = to_rgb(image)
    # ImageOps.fit crops first and resizes once, so a long panorama costs no more than a square.
    fitted = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def to_model_range(pixels_BHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Map bytes (B, H, W, 3) to (B, 3, H, W) float32 in [-1, 1]."""
    scaled = pixels_BHW3.astype(np.float32) / 127.5 - 1.0
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
