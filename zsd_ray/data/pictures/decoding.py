"""Decoding the bytes of an image file to a picture."""

from __future__ import annotations

import io
import logging
import warnings

from PIL import Image, UnidentifiedImageError

from zsd_ray.data.pictures.missing_pixels import (
    missing_from_jpeg,
    missing_from_png,
    missing_from_tiff,
)
from zsd_ray.records.errors import ImageError
from zsd_ray.settings.documents import is_lfs_pointer

# Named, so that a file that only pretends to be an image cannot reach Pillow's other plugins:
# the one for EPS runs Ghostscript.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")

EXTENSIONS = (
    *("jpg", "jpeg", "jpe", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff"),
    *("ppm", "pgm", "pbm", "pnm"),
)
"""Of files in these formats: by them folders and tars tell pictures from other files."""

_BEGINNINGS = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
}

# Pillow logs and warns of damaged metadata and of large pictures without saying in which file.
# Where the picture is no good, the image's own error says so.
logging.getLogger("PIL").addHandler(logging.NullHandler())
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, source: str) -> Image.Image:
    """Decode the first frame, all of it.

    Raises:
        ImageError: one line, with `source`, on why the bytes are not a whole image.
    """
    if not data:
        raise ImageError(f"{source}: the image is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        raw_mode, missing = _raw_mode(image), missing_from_tiff(image)
        image.load()
        missing = missing or missing_from_png(image, data) or missing_from_jpeg(image, data)
    except UnidentifiedImageError:
        raise ImageError(f"{source}: {_what_it_is(data)}") from None
    except Exception as error:  # Pillow's plugins raise SyntaxError, struct.error and others
        text = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{source}: cannot be decoded ({text})") from error
    if missing is not None:
        raise ImageError(f"{source}: the image is cut short ({missing})")
    _scale_transparency(image, raw_mode)
    return image


def _what_it_is(data: bytes) -> str:
    if is_lfs_pointer(data):
        return "a git-LFS pointer, not the image itself; run `git lfs pull`"
    known = ", ".join(_FORMATS).lower()
    for beginning, kind in _BEGINNINGS.items():
        if data.startswith(beginning):
            return f"a {kind} that is damaged, or of a variety that Pillow does not read"
    return f"not an image in a known format ({known})"


def _raw_mode(image: Image.Image) -> str:
    """Return how a PNG's pixels are packed, such as "L;4"; "" if unknown."""
    tile = getattr(image, "tile", None)
    return str(tile[0].args) if image.format == "PNG" and tile else ""


def _scale_transparency(image: Image.Image, raw_mode: str) -> None:
    """Scale the transparent colour of a PNG to the levels that its pixels are decoded to.

    Pillow compares it with these unscaled. Colours of 16 bits are decoded to their
    upper 8, so those that differ in the lower ones alone are transparent together.
    """
    colour = image.info.get("transparency")
    if raw_mode in ("L;2", "L;4") and isinstance(colour, int):
        image.info["transparency"] = colour * (85 if raw_mode == "L;2" else 17)
    elif raw_mode == "RGB;16B" and isinstance(colour, tuple):
        image.info["transparency"] = tuple(level >> 8 for level in colour)
