"""From the bytes of an image file to a decoded picture."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from zsd_ray.spec.errors import ImageError

# Named, so that a file that only pretends to be an image cannot reach Pillow's other plugins:
# the one for EPS runs Ghostscript.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


def decode(data: bytes, source: str) -> Image.Image:
    """Decode the first frame, all of it.

    Raises:
        ImageError: one line, with `source`, on why the bytes are no whole image.
    """
    if not data:
        raise ImageError(f"{source}: the image is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        image.load()
    except UnidentifiedImageError:
        known = ", ".join(_FORMATS).lower()
        raise ImageError(f"{source}: not an image in a known format ({known})") from None
    except Exception as error:  # Pillow's plugins raise SyntaxError, struct.error and others
        text = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{source}: cannot be decoded ({text})") from error
    return image
