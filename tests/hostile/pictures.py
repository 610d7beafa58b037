"""Pictures that are rare, extreme or damaged, as the bytes of a file; each name says how.

Written by hand where Pillow writes no such file, so that what they hold is known without it.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types of PNG."""

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
"""Sample formats of TIFF."""

WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1
"""Photometric interpretations of TIFF; 2 is RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 CIE L*a*b*."""


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    rows: Sequence[bytes],
    *chunks: tuple[bytes, bytes],
) -> bytes:
    """A PNG of these rows, with other chunks before them."""
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([depth, colour, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(*each) for each in chunks)
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


def tiff(
    width: int,
    height: int,
    bits: int,
    data: bytes,
    sample_format: int = UNSIGNED,
    photometric: int = BLACK_IS_ZERO,
    n_samples: int = 1,
    extra: int | None = None,
    orientation: int = 1,
) -> bytes:
    """A little-endian TIFF of one strip without compression; `extra` says what a last sample is."""
    start = 8
    behind = start + len(data) + len(data) % 2
    entries = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [bits] * n_samples),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [start]),
        (274, 3, [orientation]),
        (277, 3, [n_samples]),
        (278, 4, [height]),
        (279, 4, [len(data)]),
        (339, 3, [sample_format] * n_samples),
    ]
    if extra is not None:
        entries.insert(-1, (338, 3, [extra]))
    after = behind + 2 + 12 * len(entries) + 4
    table, values = b"", b""
    for tag, kind, numbers in entries:
        body = b"".join(struct.pack("<H" if kind == 3 else "<I", number) for number in numbers)
        if len(body) > 4:
            place = struct.pack("<I", after + len(values))
            values += body
        else:
            place = body.ljust(4, b"\0")
        table += struct.pack("<HHI", tag, kind, len(numbers)) + place
    head = struct.pack("<2sHI", b"II", 42, behind) + data.ljust(behind - start, b"\0")
    return head + struct.pack("<H", len(entries)) + table + b"\0\0\0\0" + values


def grey_tiff(levels: Any, photometric: int = BLACK_IS_ZERO) -> bytes:
    """One row of grey levels, in the type of the array: 16 or 32 bits, signed or not, or float."""
    row = np.atleast_2d(levels)
    formats = {"u": UNSIGNED, "i": SIGNED, "f": FLOAT}
    return tiff(
        row.shape[1],
        row.shape[0],
        8 * row.itemsize,
        row.astype(row.dtype.newbyteorder("<")).tobytes(),
        formats[row.dtype.kind],
        photometric,
    )


def grey_png_16(levels: Sequence[int], *chunks: tuple[bytes, bytes]) -> bytes:
    """One row of 16-bit grey."""
    row = np.array(levels, ">u2").tobytes()
    return png(len(levels), 1, 16, GREY, [row], *chunks)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """What Pillow writes of an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    """RGB noise: no two pixels are mistaken for each other."""
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(levels)


def exif(orientation: int) -> bytes:
    """An EXIF block that says how a camera was held (EXIF 2.32, tag 0x0112)."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


@cache
def sound() -> Mapping[str, bytes]:
    """Pictures of every kind that are in order, small, and have a right reading."""
    colour = photograph()
    palette = colour.quantize(16)
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    return {
        "one pixel": encoded(photograph(1, 1)),
        "jpeg": encoded(colour, "JPEG"),
        "progressive jpeg": encoded(colour, "JPEG", progressive=True),
        "grey jpeg": encoded(colour.convert("L"), "JPEG"),
        "CMYK jpeg": encoded(cmyk, "JPEG"),
        "webp": encoded(colour, "WEBP"),
        "lossless webp with alpha": encoded(colour.convert("RGBA"), "WEBP", lossless=True),
        "animated webp": encoded(colour, "WEBP", save_all=True, append_images=[photograph(seed=1)]),
        "animated png": encoded(colour, "PNG", save_all=True, append_images=[photograph(seed=1)]),
        "animated gif": encoded(palette, "GIF", save_all=True, append_images=[photograph(seed=1)]),
        "bmp": encoded(colour, "BMP"),
        "ppm": encoded(colour, "PPM"),
        "pgm of 16 bits": b"P5 2 1 65535\n" + b"\0\0\xff\xff",
        "palette png": encoded(palette),
        "palette png, transparent": encoded(palette, transparency=3),
        "palette png, half transparent": encoded(palette, transparency=b"\x40" * 16),
        "tiff of two pages": encoded(colour, "TIFF", save_all=True, append_images=[colour]),
        "LZW tiff": encoded(colour, "TIFF", compression="tiff_lzw"),
        "CMYK tiff": encoded(cmyk, "TIFF"),
        "Lab tiff": encoded(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF"),
        "YCbCr tiff": encoded(colour.convert("YCbCr"), "TIFF"),
        "palette and alpha tiff": encoded(colour.quantize(16).convert("PA"), "TIFF"),
        "turned jpeg": encoded(colour, "JPEG", exif=exif(6)),
        "turned tiff": tiff(2, 1, 8, b"\x01\x02", orientation=6),
        "orientation 99": encoded(colour, exif=exif(99)),
        "damaged EXIF": encoded(colour, exif=b"Exif\x00\x00MM"),
        "EXIF in a text that is no hexadecimal": png(
            1, 1, 8, GREY, [b"\x05"], (b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzz!!\n")
        ),
        "damaged ICC profile": png(1, 1, 8, GREY, [b"\x05"], (b"iCCP", b"a\0\0garbage")),
        "ICC profile of noise": encoded(colour, "JPEG", icc_profile=bytes(range(256)) * 4),
        "long text": png(1, 1, 8, GREY, [b"\x05"], (b"tEXt", b"a\0" + b"x" * (3 << 20))),
        "16-bit grey": grey_png_16([0, 257, 65535]),
        "16-bit grey, one level transparent": grey_png_16(
            [0, 32768, 65535], (b"tRNS", b"\x80\x00")
        ),
        "2-bit grey, one level transparent": png(
            4, 1, 2, GREY, [b"\x1b"], (b"tRNS", b"\x00\x01")
        ),
        "16-bit colour, one transparent": png(
            2, 1, 16, RGB, [b"\x80\x01\0\0\0\0" + b"\xff\xff\0\0\0\0"],
            (b"tRNS", b"\x80\x01\0\0\0\0"),
        ),
        "12-bit tiff": tiff(2, 1, 12, b"\xff\xf0\x00"),
        "int32 tiff of 8-bit levels": grey_tiff(np.array([0, 100, 255], np.int32)),
        "float tiff of shares": grey_tiff(np.array([0, 0.2, 1], np.float32)),
    }  # fmt: skip


@cache
def unknown() -> Mapping[str, bytes]:
    """Whole files whose levels have no right reading: refused, and never black or white."""
    return {
        "NaN": grey_tiff(np.array([0, np.nan, 1], np.float32)),
        "infinite": grey_tiff(np.array([0, np.inf, 1], np.float32)),
        "minus infinite": grey_tiff(np.array([0, -np.inf, 1], np.float64)),
        "all NaN": grey_tiff(np.full(3, np.nan, np.float32)),
        "negative int16": grey_tiff(np.array([-1000, 0, 1000], np.int16)),
        "negative int32": grey_tiff(np.array([-1, 0, 255], np.int32)),
        "uint32 above int32": grey_tiff(np.array([0, 2**32 - 1], np.uint32)),
        "int32 above 16 bits": grey_tiff(np.array([0, 2**30], np.int32)),
        "floats in -1 .. 1": grey_tiff(np.array([-1, 0, 1], np.float32)),
        "float above 16 bits": grey_tiff(np.array([0, 1e6], np.float32)),
        "float a little above 1": grey_tiff(np.array([0, 0.5, 1.02], np.float32)),
        "float a little above 255": grey_tiff(np.array([0, 100, 300], np.float32)),
        "8-bit levels in 16-bit png": grey_png_16([0, 100, 255]),
        "8-bit levels in 16-bit tiff": grey_tiff(np.array([0, 100, 255], np.uint16)),
        "12-bit levels in 16-bit png": grey_png_16([0, 100, 4095]),
        "12-bit levels in int32": grey_tiff(np.array([0, 100, 4095], np.int32)),
    }


@cache
def broken() -> Mapping[str, bytes]:
    """Files of which no picture can be made."""
    colour = photograph()
    whole = encoded(colour)
    return {
        "empty": b"",
        "text": b"no image\n" * 20,
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "HTML": b"<!DOCTYPE html><html><body>404</body></html>",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "signature alone": whole[:8],
        "half a png": whole[: len(whole) // 2],
        "half a jpeg": encoded(colour, "JPEG")[:-200],
        "half a webp": encoded(colour, "WEBP", lossless=True)[:-200],
        "half a tiff": encoded(colour, "TIFF")[:600],
        "no width": png(0, 1, 8, GREY, [b""]),
        "no height": png(1, 0, 8, GREY, []),
        "tiff without width": tiff(0, 1, 8, b""),
        "png bomb": png(2**31 - 1, 2**31 - 1, 8, GREY, [b""]),
        "png of 400 megapixels": png(20_000, 20_000, 8, GREY, [b""]),
        "tiff bomb": tiff(2**31, 2**31, 8, b"\0"),
        "gif bomb": b"GIF89a" + b"\xff\xff\xff\xff\0\0\0" + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
        "ppm bomb": b"P6 99999999 99999999 255\n\0",
        "bmp bomb": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 1, 1, 0, 0),
        "webp bomb": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6,
        "compressed text bomb": png(
            1, 1, 8, GREY, [b"\x05"], (b"zTXt", b"a\0\0" + zlib.compress(b"x" * (2 << 20)))
        ),
        "ICC bomb": png(
            1, 1, 8, GREY, [b"\x05"], (b"iCCP", b"a\0\0" + zlib.compress(b"x" * (2 << 20)))
        ),
        "palette png without its palette": png(2, 1, 8, PALETTE, [b"\x00\x05"]),
        "too many transparent colours": png(
            2, 1, 8, PALETTE, [b"\x00\x01"],
            (b"PLTE", b"\xff\0\0\0\xff\0"), (b"tRNS", b"\x80" * 300),
        ),
        "png of half the rows": png(16, 32, 8, GREY, [b"\xc8" * 16] * 16),
        "tiny png of 100 megapixels": png(10_000, 10_000, 8, GREY, [b"\xc8" * 10_000] * 2),
        "interlaced png without the last pass": _interlaced(),
        "tiff of one strip in two": _half_a_tiff(),
        "wrong checksum": whole[:20] + b"\xff" + whole[21:],
    }  # fmt: skip


def _interlaced() -> bytes:
    """2 x 2 pixels, of which the last pass, the lower row, is missing."""
    rows = zlib.compress(b"\0\xc8" + b"\0\xc8")
    header = (2).to_bytes(4) * 2 + bytes([8, GREY, 0, 0, 1])
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _half_a_tiff() -> bytes:
    """Says that its one strip is half of its rows."""
    whole = tiff(4, 4, 8, b"\xc8" * 16)
    return whole.replace(struct.pack("<HHII", 278, 4, 1, 4), struct.pack("<HHII", 278, 4, 1, 2))


@cache
def long() -> Mapping[str, bytes]:
    """Sound pictures, far longer than wide."""
    return {
        "1 x 40,000": png(40_000, 1, 8, GREY, [bytes(40_000)]),
        "40,000 x 1": png(1, 40_000, 8, GREY, [b"\x80"] * 40_000),
        "1 x 120,000": png(120_000, 1, 8, GREY, [bytes(120_000)]),
        "2 x 65,000": encoded(Image.new("RGB", (2, 65_000), (9, 8, 7))),
    }


def everything() -> dict[str, bytes]:
    """All of the above, by name."""
    return {**sound(), **unknown(), **broken(), **long()}


def damage(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a file with one kind of damage: cut, flipped, moved, repeated or overwritten.

    A PNG gets right checksums again in half of the cases, as most damage ends at these.
    """
    if not data:
        return rng.randbytes(rng.randrange(64))
    damaged = bytearray(data)
    kind = rng.randrange(6)
    place = rng.randrange(len(damaged))
    if kind == 0:
        del damaged[place:]
    elif kind == 1:
        for _ in range(rng.choice([1, 1, 2, 8, 64])):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del damaged[place : place + rng.choice([1, 2, 4, 100])]
    elif kind == 3:
        damaged[place:place] = damaged[place : place + rng.choice([1, 4, 16, 300])]
    elif kind == 4:
        extreme = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x01"])
        damaged[place : place + 4] = extreme
    else:
        head = rng.randrange(min(len(damaged), 128))
        damaged[head : head + 2] = rng.randbytes(2)
    if bytes(damaged[:4]) == b"\x89PNG" and rng.random() < 0.5:
        return _with_checksums(bytes(damaged))
    return bytes(damaged)


def _with_checksums(data: bytes) -> bytes:
    """The PNG with the checksum of each chunk as its content now is."""
    mended, place = data[:8], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        if place + 12 + length > len(data):
            break
        mended += chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length])
        place += 12 + length
    return mended + data[place:]
