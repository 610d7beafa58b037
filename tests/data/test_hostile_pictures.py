"""Rare, extreme and damaged pictures: the right pixels, or one line on why there are none."""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.hostile import pictures
from tests.hostile.pictures import GREY, WHITE_IS_ZERO, encoded, grey_png_16, grey_tiff, png
from tests.hostile.pictures import tiff as a_tiff
from zsd_ray.config.data import CorruptionConfig
from zsd_ray.data.pictures.corruption import corrupt
from zsd_ray.data.pictures.decoding import decode
from zsd_ray.data.pictures.transforms import to_rgb, to_square
from zsd_ray.records.errors import ImageError

Colours = Sequence[tuple[int, int, int]]
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def grey(*levels: int) -> list[tuple[int, int, int]]:
    return [(level,) * 3 for level in levels]


def colours_of(image: Image.Image) -> NDArray[np.int64]:
    rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    return np.asarray(rgb)[0].astype(np.int64)


def over_white(level: int, alpha: int) -> int:
    return round(level * alpha / 255 + 255 * (1 - alpha / 255))


def from_lab(lightness: float, a: float, b: float) -> tuple[int, ...]:
    """sRGB of CIE L*a*b* under D50 (IEC 61966-2-1, adapted by Bradford)."""
    y = (lightness + 16) / 116
    cube = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(cube > 6 / 29, cube**3, 3 * (6 / 29) ** 2 * (cube - 4 / 29))
    xyz *= (0.96422, 1.0, 0.82521)
    linear = np.clip(
        np.array(
            [
                [3.1338561, -1.6168667, -0.4906146],
                [-0.9787684, 1.9161415, 0.0334540],
                [0.0719453, -0.2289914, 1.4052427],
            ]
        )
        @ xyz,
        0,
        1,
    )
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple(int(level) for level in np.round(coded * 255))


def in_16_bits(order: str, *levels: int) -> bytes:
    return np.array(levels, f"{order}u2").tobytes()


def ints(*levels: int) -> bytes:
    return np.array(levels, np.int32).tobytes()


def floats(*levels: float) -> bytes:
    return np.array(levels, np.float32).tobytes()


def from_hsv(*levels: int) -> tuple[int, ...]:
    hue, saturation, value = (level / 255 for level in levels)
    return tuple(round(255 * share) for share in colorsys.hsv_to_rgb(hue, saturation, value))


# Pillow's mode, the bytes of a row, and its colours by the definition of the mode.
MODES: dict[str, tuple[str, bytes, Sequence[tuple[int, ...]]]] = {
    "1": ("1", b"\x40", grey(0, 255, 0)),
    "L": ("L", bytes([0, 100, 255]), grey(0, 100, 255)),
    "LA": ("LA", bytes([0, 255, 0, 0, 100, 51]), grey(0, 255, over_white(100, 51))),
    "La": ("La", bytes([0, 255, 0, 0, 20, 51]), grey(0, 255, over_white(100, 51))),
    "RGB": ("RGB", bytes([1, 2, 3, *RED]), [(1, 2, 3), RED]),
    "RGBX": ("RGBX", bytes([1, 2, 3, 0, *RED, 9]), [(1, 2, 3), RED]),
    "RGBA": ("RGBA", bytes([1, 2, 3, 255, 9, 9, 9, 0, 0, 0, 0, 51]), [(1, 2, 3), *grey(255, 204)]),
    "RGBa": ("RGBa", bytes([1, 2, 3, 255, 51, 0, 0, 51]), [(1, 2, 3), (255, 204, 204)]),
    "CMYK": ("CMYK", bytes([255, 0, 0, 0, 0, 128, 0, 128]), [(0, 255, 255), (127, 63, 127)]),
    "YCbCr": ("YCbCr", bytes([9, 128, 128, 150, 100, 180]), [(9, 9, 9), (223, 122, 100)]),
    "LAB": (
        "LAB",
        bytes([128, 0, 0, 128, 40, 216]),
        [from_lab(50.2, 0, 0), from_lab(50.2, 40, -40)],
    ),
    "HSV": ("HSV", bytes([0, 255, 255, 85, 255, 100]), [RED, from_hsv(85, 255, 100)]),
    "I;16": ("I;16", in_16_bits("<", 0, 257, 65535), grey(0, 1, 255)),
    "I;16L": ("I;16L", in_16_bits("<", 0, 257, 65535), grey(0, 1, 255)),
    "I;16B": ("I;16B", in_16_bits(">", 0, 257, 65535), grey(0, 1, 255)),
    "I;16N": ("I;16N", in_16_bits("=", 0, 257, 65535), grey(0, 1, 255)),
    "I, 8 bits": ("I", ints(0, 100, 255), grey(0, 100, 255)),
    "I, 16 bits": ("I", ints(0, 257, 65535), grey(0, 1, 255)),
    "I, black": ("I", ints(0, 0), grey(0, 0)),
    "F, shares": ("F", floats(0, 0.2, 1), grey(0, 51, 255)),
    "F, rounded shares": ("F", floats(-1e-6, 0.2, 1.000001), grey(0, 51, 255)),
    "F, dark shares": ("F", floats(0, 0.1), grey(0, 26)),
    "F, 8 bits": ("F", floats(0, 51.2, 255), grey(0, 51, 255)),
    "F, 16 bits": ("F", floats(0, 257, 65535), grey(0, 1, 255)),
}

ROUNDED = {"CMYK": 1, "YCbCr": 1, "LAB": 2, "HSV": 1}
"""How far off a level may be where Pillow reckons with 8 bits."""


@pytest.mark.parametrize("name", MODES)
def test_what_each_mode_becomes(name: str) -> None:
    mode, row, expected = MODES[name]
    image = Image.frombytes(mode, (len(expected), 1), row)
    np.testing.assert_allclose(colours_of(image), expected, atol=ROUNDED.get(name, 0))


@pytest.mark.parametrize("mode", ["P", "PA"])
def test_palettes(mode: str) -> None:
    row = bytes([1, 0]) if mode == "P" else bytes([1, 255, 0, 0])
    image = Image.frombytes(mode, (2, 1), row)
    image.putpalette([*RED, *GREEN])
    assert colours_of(image).tolist() == [list(GREEN), list(RED if mode == "P" else WHITE)]


# A file, and what its samples are by the definition of the format.
FILES: dict[str, tuple[bytes, Colours]] = {
    "png of 16 bits": (grey_png_16([0, 257, 32896, 65535]), grey(0, 1, 128, 255)),
    "png of 16 bits, dark": (grey_png_16([0, 4369]), grey(0, 17)),
    "png of 16 bits, black": (grey_png_16([0, 0]), grey(0, 0)),
    "png of 16 bits, a level transparent": (
        grey_png_16([0, 32768, 65535], (b"tRNS", b"\x80\x00")), grey(0, 255, 255),
    ),
    "png of 16 bits, black transparent": (
        grey_png_16([0, 65535, 32896], (b"tRNS", b"\x00\x00")), grey(255, 255, 128),
    ),
    "png of 8 bits, a level transparent": (
        png(2, 1, 8, GREY, [b"\x05\x0a"], (b"tRNS", b"\x00\x05")), grey(255, 10),
    ),
    "png of 4 bits, a level transparent": (
        png(2, 1, 4, GREY, [b"\x5a"], (b"tRNS", b"\x00\x05")), grey(255, 170),
    ),
    "png of 2 bits, a level transparent": (
        png(4, 1, 2, GREY, [b"\x1b"], (b"tRNS", b"\x00\x01")), grey(0, 255, 170, 255),
    ),
    "png of 1 bit, black transparent": (
        png(8, 1, 1, GREY, [b"\xf0"], (b"tRNS", b"\x00\x00")), [WHITE] * 8,
    ),
    "png of 16-bit colours, one transparent": (
        pictures.sound()["16-bit colour, one transparent"], [WHITE, RED],
    ),
    "png of 16-bit grey and alpha": (
        png(2, 1, 16, pictures.GREY_ALPHA, [b"\x80\x80\xff\xff\x00\x00\x33\x33"]), grey(128, 204),
    ),
    "pgm of 16 bits": (b"P5 2 1 65535\n\x00\x00\xff\xff", grey(0, 255)),
    "pgm of 12 bits": (b"P5 2 1 4095\n\x00\x00\x0f\xff", grey(0, 255)),
    "pgm of 4 bits": (b"P5 2 1 15\n\x00\x0f", grey(0, 255)),
    "tiff of 16 bits": (grey_tiff(np.array([0, 257, 65535], np.uint16)), grey(0, 1, 255)),
    "tiff of 16 bits, white is zero": (
        grey_tiff(np.array([0, 257, 65535], np.uint16), WHITE_IS_ZERO), grey(255, 254, 0),
    ),
    "tiff of 12 bits": (a_tiff(2, 1, 12, b"\xff\xf0\x00"), grey(255, 0)),
    "tiff of int16": (grey_tiff(np.array([0, 100, 255], np.int16)), grey(0, 100, 255)),
    "tiff of int32, 8-bit levels": (
        grey_tiff(np.array([0, 100, 255], np.int32)), grey(0, 100, 255),
    ),
    "tiff of uint32, 16-bit levels": (
        grey_tiff(np.array([0, 257, 65535], np.uint32)), grey(0, 1, 255),
    ),
    "tiff of floats, shares": (grey_tiff(np.array([0, 0.2, 1], np.float32)), grey(0, 51, 255)),
    "tiff of floats, shares, white is zero": (
        grey_tiff(np.array([0, 0.2, 1], np.float32), WHITE_IS_ZERO), grey(255, 204, 0),
    ),
    "tiff of floats, 8-bit levels": (
        grey_tiff(np.array([0, 100, 255], np.float32)), grey(0, 100, 255),
    ),
    "tiff of floats, 16-bit levels": (
        grey_tiff(np.array([0, 257, 65535], np.float32)), grey(0, 1, 255),
    ),
    "tiff of grey and premultiplied alpha": (
        a_tiff(2, 1, 8, bytes([100, 255, 20, 51]), n_samples=2, extra=1),
        grey(100, over_white(100, 51)),
    ),
    "tiff of grey and alpha": (
        a_tiff(2, 1, 8, bytes([100, 255, 100, 51]), n_samples=2, extra=2),
        grey(100, over_white(100, 51)),
    ),
}  # fmt: skip


@pytest.mark.few(4)
@pytest.mark.parametrize("name", FILES)
def test_what_each_file_becomes(name: str) -> None:
    data, expected = FILES[name]
    assert colours_of(decode(data, "x")).tolist() == [list(colour) for colour in expected]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_tiff_is_upright(orientation: int) -> None:
    """Which corner the first pixel of 2 x 1 is, and which the second (TIFF 6.0, Orientation)."""
    image = to_rgb(decode(a_tiff(2, 1, 8, b"\x0a\x14", orientation=orientation), "x"))
    levels = np.asarray(image)[..., 0]
    assert levels.shape == ((1, 2) if orientation <= 4 else (2, 1))
    first_is_first = orientation in (1, 4, 5, 6)
    assert levels.ravel().tolist() == ([10, 20] if first_is_first else [20, 10])


@pytest.mark.few(4)
@pytest.mark.parametrize("name", pictures.sound())
def test_a_sound_picture_is_read(name: str) -> None:
    pixels = to_square(decode(pictures.sound()[name], "x"), 8)
    assert pixels.shape == (8, 8, 3)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", [*pictures.unknown(), *pictures.broken()])
def test_what_is_no_picture_says_why_in_one_line(name: str) -> None:
    data = {**pictures.unknown(), **pictures.broken()}[name]
    with pytest.raises(ImageError) as caught:
        to_square(decode(data, "place/x.png"), 8)
    message = str(caught.value)
    assert len(message) > 20
    assert "\n" not in message
    assert " at 0x" not in message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NaN", "infinite or no numbers"),
        ("negative int32", r"from -1 to 255, and which of them is white is not known; save it"),
        ("float a little above 255", r"from 0 to 300, .* scaled to 0 \.\. 1 or 0 \.\. 255 or"),
        ("8-bit levels in 16-bit png", r"up to 255 of 65,535, which shows next to nothing; save"),
        ("LFS pointer", "git lfs pull"),
        ("signature alone", "a png that is damaged, or of a variety"),
        ("png of half the rows", "cut short"),
        ("palette png without its palette", "no palette"),
    ],
)
def test_the_line_says_what_to_do(name: str, said: str) -> None:
    data = {**pictures.unknown(), **pictures.broken()}[name]
    with pytest.raises(ImageError, match=said):
        to_rgb(decode(data, "x"))


def test_a_picture_with_a_black_last_row_is_no_picture_cut_short() -> None:
    black = Image.new("L", (5, 3), 0)
    for image in (black, black.convert("RGB"), black.convert("1"), black.convert("P")):
        assert to_rgb(decode(encoded(image), "x")).getextrema() == ((0, 0),) * 3


def test_an_interlaced_picture_that_is_whole() -> None:
    """2 x 2: pass 1 has the first pixel, pass 6 the one beside it, pass 7 the lower row."""
    passes = b"\0\x0a" + b"\0\x14" + b"\0\x1e\x28"
    header = (2).to_bytes(4) * 2 + bytes([8, GREY, 0, 0, 1])
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(
        pictures.chunk(kind, body)
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", pictures.zlib.compress(passes)),
            (b"IEND", b""),
        )
    )
    levels = np.asarray(to_rgb(decode(whole, "x")))[..., 0]
    assert levels.tolist() == [[10, 20], [30, 40]]


@pytest.mark.parametrize("name", pictures.long())
def test_a_long_picture_costs_no_more_than_a_square(name: str) -> None:
    assert to_square(decode(pictures.long()[name], "x"), 32).shape == (32, 32, 3)


def test_what_is_too_long_to_corrupt_is_refused() -> None:
    blur = CorruptionConfig(kind="gaussian-blur", strength=1)
    with pytest.raises(ImageError, match="2 x 3000000 pixels are too long a picture to corrupt"):
        corrupt(Image.new("L", (2, 3_000_000)), "a", blur)
    assert corrupt(Image.new("L", (2, 40_000)), "a", blur).size == (2, 40_000)
    with pytest.raises(ImageError, match="70000 x 1 pixels cannot be corrupted by jpeg"):
        corrupt(Image.new("L", (70_000, 1)), "a", CorruptionConfig(kind="jpeg", strength=1))


def test_a_deep_picture_is_scaled_in_pieces_as_in_one() -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (1300, 1000), np.uint16)
    levels[0, 0] = 65535
    expected = np.round(levels / 65535 * 255)
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.fromarray(levels)))[..., 2], expected)


def test_damaged_files_end_in_pixels_or_in_one_line() -> None:
    """A thousand of them, the same each time; benchmarks/fuzz.py tries others."""
    rng = random.Random(15)
    whole = [data for data in pictures.everything().values() if len(data) < 10_000]
    refused: list[str] = []
    for _ in range(1000):
        data = pictures.damage(rng.choice(whole), rng)
        try:
            image = decode(data, "x")
            if image.width * image.height < 1 << 20:  # for the time that it takes
                assert to_square(image, 8).shape == (8, 8, 3)
        except ImageError as error:
            refused.append(str(error))
    assert 300 < len(refused) < 1000
    assert not any("\n" in message for message in refused)
