"""Bytes that are no whole image become one line that says so."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zsd_ray.data.pictures.decoding import decode
from zsd_ray.records.errors import ImageError

Picture = Callable[..., Image.Image]
Encode = Callable[..., bytes]


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, "place/x.jpg")
    message = str(caught.value)
    assert message.startswith("place/x.jpg: ")
    assert "\n" not in message
    assert " at 0x" not in message  # an address in memory would differ from run to run
    return message


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_a_whole_image_comes_with_its_pixels(kind: str, picture: Picture, encode: Encode) -> None:
    image = picture() if kind != "GIF" else picture().convert("L")
    decoded = decode(encode(image, kind), "x").convert(image.mode)
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP"])
@pytest.mark.parametrize("part", [0.5, 0.95])
def test_truncated_images(kind: str, part: float, picture: Picture, encode: Encode) -> None:
    data = encode(picture(width=64, height=64), kind)
    reason(data[: int(len(data) * part)])


def test_truncated_jpeg_says_so(picture: Picture, encode: Encode) -> None:
    data = encode(picture(width=64, height=64), "JPEG")
    assert "truncated" in reason(data[: len(data) // 2])


@pytest.mark.parametrize("options", [{}, {"exif": b"Exif\0\0\xff\xd9"}])
def test_a_jpeg_whose_second_half_is_zeros(picture: Picture, options: dict[str, Any]) -> None:
    """As a broken download leaves it: its decoder would make grey of them in silence."""
    out = io.BytesIO()
    picture(0, 640, 480).save(out, "JPEG", quality=90, **options)
    data = out.getvalue()
    assert decode(data, "x").size == (640, 480)
    assert decode(data + bytes(9), "x").size == (640, 480)
    half = len(data) // 2
    assert "cut short (its end is missing)" in reason(data[:half] + bytes(len(data) - half))


def test_zero_bytes() -> None:
    assert reason(b"") == "place/x.jpg: the image is empty (0 bytes)"


def test_text() -> None:
    assert "not an image in a known format (jpeg, png, " in reason(b"no image\n" * 20)


def test_postscript_is_never_run() -> None:
    """Pillow would hand it to Ghostscript, whatever the file is called."""
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    assert "not an image" in reason(postscript)


def test_a_decompression_bomb(
    picture: Picture, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert "decompression bomb" in reason(encode(picture()))
