"""From a decoded picture of any kind to the square, three-channel array that a model takes."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

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

    EXIF rotation is applied, transparency is laid over white, 16-bit grey is scaled to 8 bits,
    and CMYK and palette colours are converted.
    """
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled_grey(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose also writes the EXIF block anew, and fails where it is damaged.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, struct.error):  # a damaged block: the pixels are good, so shown as stored
        return image
    method = _TO_UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _scaled_grey(image: Image.Image) -> Image.Image:
    levels = np.asarray(image, dtype=np.float64)
    # Integer files hold 16-bit levels; float files hold [0, 1] or, by custom, [0, 255].
    top = 65535.0 if image.mode.startswith("I") else (1.0 if levels.max() <= 1.0 else 255.0)
    return Image.fromarray(np.round(np.clip(levels / top, 0, 1) * 255).astype(np.uint8))


def to_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize the shorter side to `size` (bicubic) and cut the centre: (size, size, 3) uint8."""
    image = to_rgb(image)
    # ImageOps.fit crops first and resizes once, so a long panorama costs no more than a square.
    fitted = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def to_model_range(pixels_BHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Map bytes (B, H, W, 3) to (B, 3, H, W) float32 in [-1, 1]."""
    scaled = pixels_BHW3.astype(np.float32) / 127.5 - 1.0
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
