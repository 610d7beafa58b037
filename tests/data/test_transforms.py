"""to_rgb and to_square, by pixel values that can be worked out by hand."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from zsd_ray.data.pictures.decoding import decode
from zsd_ray.data.pictures.transforms import to_model_range, to_rgb, to_square

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
Picture = Callable[..., Image.Image]
Encode = Callable[..., bytes]


def row_of(image: Image.Image) -> list[tuple[int, ...]]:
    rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    return [tuple(int(level) for level in pixel) for pixel in np.asarray(rgb)[0]]


def one_row(mode: str, pixels: Sequence[Any]) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def palette(pixels: list[int], colours: list[tuple[int, int, int]]) -> Image.Image:
    image = one_row("P", pixels)
    image.putpalette([level for colour in colours for level in colour])
    return image


@pytest.mark.parametrize(
    ("mode", "pixels", "expected"),
    [
        ("1", [0, 255], [(0, 0, 0), WHITE]),
        ("L", [0, 100, 255], [(0, 0, 0), (100, 100, 100), WHITE]),
        ("RGB", [(1, 2, 3), RED], [(1, 2, 3), RED]),
        ("RGBA", [(1, 2, 3, 255), (9, 9, 9, 0)], [(1, 2, 3), WHITE]),
        ("RGBA", [(0, 0, 0, 51), (255, 0, 0, 102)], [(204, 204, 204), (255, 153, 153)]),
        ("LA", [(0, 255), (0, 0), (0, 51)], [(0, 0, 0), WHITE, (204, 204, 204)]),
        ("CMYK", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)], [WHITE, (0, 255, 255), (0, 0, 0)]),
    ],
)
def test_modes(mode: str, pixels: Sequence[Any], expected: list[tuple[int, ...]]) -> None:
    assert row_of(one_row(mode, pixels)) == expected


def test_palette_without_transparency() -> None:
    assert row_of(palette([2, 0, 1], [RED, GREEN, BLUE])) == [BLUE, RED, GREEN]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_palette_with_transparency_lies_on_white(transparency: int | bytes, encode: Encode) -> None:
    png = encode(palette([0, 1, 2], [RED, GREEN, BLUE]), transparency=transparency)
    image = decode(png, "x")
    assert image.mode == "P"
    assert row_of(image) == [RED, WHITE, BLUE]


def test_palette_with_half_transparent_colour(encode: Encode) -> None:
    png = encode(palette([0, 1], [RED, (0, 0, 0)]), transparency=b"\xff\x33")
    assert row_of(decode(png, "x")) == [RED, (204, 204, 204)]


def test_rgb_png_with_one_transparent_colour(encode: Encode) -> None:
    png = encode(one_row("RGB", [RED, GREEN]), transparency=GREEN)
    assert row_of(decode(png, "x")) == [RED, WHITE]


def test_gif_with_transparency_and_its_first_frame(encode: Encode) -> None:
    first = palette([0, 1], [RED, GREEN])
    second = palette([1, 1], [BLUE, BLUE])
    gif = encode(
        first, "GIF", save_all=True, append_images=[second], transparency=1, disposal=2, duration=9
    )
    image = decode(gif, "x")
    assert getattr(image, "n_frames", 1) == 2
    assert row_of(image) == [RED, WHITE]


def test_cmyk_jpeg(encode: Encode) -> None:
    cyan_over_black = Image.new("CMYK", (16, 16), (0, 0, 0, 255))
    cyan_over_black.paste((255, 0, 0, 0), (0, 0, 16, 8))
    image = decode(encode(cyan_over_black, "JPEG", quality=100), "x")
    assert image.mode == "CMYK"
    pixels = np.asarray(to_rgb(image)).astype(int)
    np.testing.assert_allclose(pixels[:8], np.broadcast_to((0, 255, 255), (8, 16, 3)), atol=3)
    np.testing.assert_allclose(pixels[8:], np.zeros((8, 16, 3)), atol=3)


def test_sixteen_bit_grey_png_is_scaled_and_not_clipped(encode: Encode) -> None:
    levels = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    image = decode(encode(Image.fromarray(levels)), "x")
    assert image.mode.startswith("I")
    assert row_of(image) == [(0, 0, 0), (1, 1, 1), (128, 128, 128), WHITE]


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_float_tiff(top: float, encode: Encode) -> None:
    levels = np.array([[0.0, 0.2, 1.0]], dtype=np.float32) * np.float32(top)
    image = decode(encode(Image.fromarray(levels), "TIFF"), "x")
    assert row_of(image) == [(0, 0, 0), (51, 51, 51), WHITE]


# What a camera in each position stores of an upright picture (EXIF 2.32, tag 0x0112).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_rotation_is_undone(orientation: int, picture: Picture, encode: Encode) -> None:
    upright = np.asarray(picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    image = decode(encode(stored, exif=exif), "x")
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), upright)


def test_exif_rotated_jpeg(encode: Encode) -> None:
    stored = Image.new("RGB", (32, 16), RED)
    stored.paste(BLUE, (16, 0, 32, 16))  # turned by 90 degrees clockwise, blue comes to the bottom
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = to_rgb(decode(encode(stored, "JPEG", exif=exif, quality=100, subsampling=0), "x"))
    assert upright.size == (16, 32)
    np.testing.assert_allclose(np.asarray(upright)[4, 8], RED, atol=3)
    np.testing.assert_allclose(np.asarray(upright)[28, 8], BLUE, atol=3)


@pytest.mark.parametrize("block", [b"Exif\x00\x00not TIFF at all", b"Exif\x00\x00MM", b"?"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_damaged_exif_leaves_the_picture_as_stored(
    kind: str, block: bytes, picture: Picture, encode: Encode
) -> None:
    png = encode(picture(), kind, exif=block, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(np.asarray(to_rgb(decode(png, "x"))), np.asarray(picture()))


def test_exif_that_cannot_be_written_anew_still_turns_the_picture(
    picture: Picture, encode: Encode
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010F] = "Maker"
    block = exif.tobytes()
    # The maker's name, an ASCII field, comes as one float.
    damaged = block.replace(
        b"\x01\x0f\x00\x02\x00\x00\x00\x06", b"\x01\x0f\x00\x0b\x00\x00\x00\x01"
    )
    image = decode(encode(picture(), exif=damaged), "x")
    with pytest.raises(AttributeError):
        ImageOps.exif_transpose(image)  # so that this test is about something
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.asarray(picture())[::-1, ::-1])


def test_square_of_its_own_size_is_untouched(picture: Picture) -> None:
    image = picture(width=32, height=32)
    pixels = to_square(image, 32)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(image))


@pytest.mark.parametrize(("width", "height"), [(64, 32), (32, 64)])
def test_square_cuts_the_centre(width: int, height: int, picture: Picture) -> None:
    image = picture(width=width, height=height)
    x, y = (width - 32) // 2, (height - 32) // 2
    np.testing.assert_array_equal(to_square(image, 32), np.asarray(image)[y : y + 32, x : x + 32])


def test_square_of_an_odd_panorama_shows_its_middle() -> None:
    panorama = Image.new("RGB", (1001, 37), RED)
    panorama.paste(GREEN, (450, 0, 551, 37))
    panorama.paste(BLUE, (551, 0, 1001, 37))
    pixels = to_square(panorama, 64)
    np.testing.assert_array_equal(pixels, np.broadcast_to(GREEN, (64, 64, 3)))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (3, 10_000), (4000, 5)])
def test_square_of_extreme_shapes(width: int, height: int) -> None:
    pixels = to_square(Image.new("RGB", (width, height), (10, 20, 30)), 16)
    np.testing.assert_array_equal(pixels, np.broadcast_to((10, 20, 30), (16, 16, 3)))


def test_square_averages_when_it_shrinks() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 254
    inner = to_square(Image.fromarray(stripes), 16)[:, 1:-1]  # the filter is cut at the border
    np.testing.assert_allclose(inner, 127, atol=1)


def test_square_is_turned_before_it_is_cut(encode: Encode) -> None:
    stored = Image.new("L", (48, 16), 0)
    stored.paste(200, (16, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = to_square(decode(encode(stored, exif=exif), "x"), 16)
    np.testing.assert_array_equal(pixels, np.full((16, 16, 3), 200))


def test_model_range() -> None:
    pixels = np.zeros((2, 4, 5, 3), np.uint8)
    pixels[1, 2, 3] = (0, 51, 255)
    scaled = to_model_range(pixels)
    assert scaled.shape == (2, 3, 4, 5)
    assert scaled.dtype == np.float32
    assert scaled.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(scaled[1, :, 2, 3], [-1, -0.6, 1], atol=1e-7)
    assert (scaled[0] == -1).all()


def test_real_imagenet_files(shared_data: Path) -> None:
    files = sorted((shared_data / "imagenet-samples").glob("*.JPEG"))
    assert len(files) > 50
    for file in files:
        image = decode(file.read_bytes(), file.name)
        pixels = to_square(image, 64)
        assert pixels.shape == (64, 64, 3)
        # Resized and cut by plain arithmetic, the picture must be about the same.
        width, height = image.size
        side = min(width, height)
        x, y = (width - side) // 2, (height - side) // 2
        centre = image.convert("RGB").crop((x, y, x + side, y + side))
        means = np.asarray(centre.resize((64, 64), Image.Resampling.BOX)).astype(float)
        assert np.abs(pixels - means).mean() < 8, file.name


def test_real_rgba_scenes_are_opaque(shared_data: Path) -> None:
    for file in sorted((shared_data / "clevr" / "images").glob("*.png")):
        image = Image.open(io.BytesIO(file.read_bytes()))
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.asarray(image)[..., :3])


def test_grey_png_of_one_bit_with_transparent_white() -> None:
    """Written by hand, as Pillow writes no such file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", (8).to_bytes(4) + (1).to_bytes(4) + bytes([1, 0, 0, 0, 0]))
        + chunk(b"tRNS", b"\x00\x01")
        + chunk(b"IDAT", zlib.compress(b"\x00\xf0"))
        + chunk(b"IEND", b"")
    )
    assert row_of(decode(png, "x")) == [WHITE] * 4 + [(0, 0, 0)] * 4
