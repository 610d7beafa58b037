"""Files that declare more pixels than they hold: Pillow would silently leave the rest black."""

from __future__ import annotations

import zlib

from PIL import Image

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers of a pixel, by the colour type of a PNG."""

_JPEG_ALONE = [bytes([mark]) for mark in (0x01, *range(0xD0, 0xD9))]
"""Marks of a JPEG that no length follows."""

_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Of an interlaced PNG: where each pass begins, x and y, and its steps (PNG, section 8.2)."""

_AT_ONCE = 1 << 20


def missing_from_tiff(image: Image.Image) -> str | None:
    """Return the error in the strips or tiles of a TIFF that is not loaded yet; None: none."""
    if image.format != "TIFF":
        return None
    width, height = image.size
    areas = [(tile[1][2] - tile[1][0]) * (tile[1][3] - tile[1][1]) for tile in _tiles(image)]
    missing = width * height - sum(areas)
    return f"{missing:,} of its pixels are in no strip" if missing > 0 else None


def missing_from_jpeg(image: Image.Image, data: bytes) -> str | None:
    """Return the error at the end of a loaded JPEG; None: none.

    Its decoder turns the zeros of a broken download into grey. The end marker cannot occur in pixel
    data (ITU-T T.81, B.1.1.5), so it must occur after the start of the first scan.
    """
    if image.format not in ("JPEG", "MPO"):
        return None
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        mark = data[place + 1 : place + 2]
        if mark == b"\xff":  # filling before a mark
            place += 1
        elif mark in _JPEG_ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return "its end is missing" if data.find(b"\xff\xd9", place) < 0 else None


def missing_from_png(image: Image.Image, data: bytes) -> str | None:
    """Return the error in the data of a loaded PNG; None: none.

    Checked only if the last row is 0 or rows are interlaced, as counting means to inflate again.
    """
    width, height = image.size
    interlaced = data[28:29] == b"\x01"
    if image.format != "PNG" or not (interlaced or _ends_in_zeros(image)):
        return None
    bits = data[24] * _CHANNELS.get(data[25], 0)
    if interlaced:
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _PASSES]
    else:
        sizes = [(width, height)]
    wanted = sum(h * (1 + -(-w * bits // 8)) for w, h in sizes if w > 0 and h > 0)
    held = _inflated(data, wanted)
    return f"it holds {held:,} of {wanted:,} bytes of pixels" if held < wanted else None


def _tiles(image: Image.Image) -> list[tuple[object, tuple[int, int, int, int]]]:
    return [(tile[0], tile[1]) for tile in getattr(image, "tile", [])]


def _ends_in_zeros(image: Image.Image) -> bool:
    width, height = image.size
    return not any(image.crop((0, height - 1, width, height)).tobytes())


def _inflated(data: bytes, enough: int) -> int:
    """Return the inflated size of the pixel data of a PNG in bytes, counted up to `enough`."""
    stream, n, place = zlib.decompressobj(), 0, 8
    while place + 8 <= len(data) and n < enough:
        length = int.from_bytes(data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed = data[place + 8 : place + 8 + length]
            while packed and n < enough:
                n += len(stream.decompress(packed, _AT_ONCE))
                packed = stream.unconsumed_tail
        place += 12 + length
    return n
