"""The members of an untrusted tar, found by its headers and checked."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import IO

BLOCK = 512
_LARGEST_HEADER = 64 * 1024  # of a name or of pax's keys; paths have 4,096 bytes
# A name has 255 bytes at most, so these are none; tarfile takes a square of their number of steps.
_ENDLESS_NUMBER = re.compile(rb"\d{300}")
_PIECE = 1024 * 1024
_MOST_ZEROS = 16 * _PIECE  # between two archives; tar itself fills up to 10,240 bytes


class _Headers:
    """A file that returns only headers, and so none with a false size."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.seek, self.tell = opened.seek, opened.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise ValueError(f"a header of {size} bytes stands before byte {self.tell()}")
        header = self._opened.read(size)
        if _ENDLESS_NUMBER.search(header):
            raise ValueError(f"the header before byte {self.tell()} is none")
        return header


def read_members(opened: IO[bytes], size: int) -> Iterator[tarfile.TarInfo]:
    """Yield every member of a tar of `size` bytes, or of several concatenated ones.

    tarfile alone stops at the first archive's end, and at the first header that it cannot read.

    Raises:
        ValueError: it is truncated, damaged, or followed by other data.
        tarfile.TarError: it is not a tar.
    """
    start: int | None = 0
    while start is not None:
        opened.seek(start)
        with tarfile.open(fileobj=_Headers(opened), mode="r:") as tar:  # type: ignore[call-overload]
            for member in tar:
                end = member.offset_data + member.size
                if not member.offset_data <= end <= size:
                    raise ValueError(
                        f"it is damaged or has been cut: its member {member.name!a} would end at "
                        f"byte {end} of {size}; copy or pack it again"
                    )
                yield member
            end = tar.offset
        start = _next_start(opened, end)


def _next_start(opened: IO[bytes], end: int) -> int | None:
    """Return the start of the archive that follows one whose end is due; None if none follows."""
    opened.seek(end)
    block = opened.read(BLOCK)
    if len(block) < BLOCK or any(block):
        what = "has been cut" if len(block) < BLOCK else "is damaged"
        raise ValueError(
            f"it {what}: at byte {end} a header or the tar's end is due; copy or pack it again"
        )
    at = end + BLOCK
    while piece := opened.read(_PIECE):
        n_zeros = len(piece) - len(piece.lstrip(b"\0"))
        if n_zeros < len(piece):
            return (at + n_zeros) // BLOCK * BLOCK
        at += len(piece)
        if at - end > _MOST_ZEROS:
            raise ValueError(f"it holds nothing from byte {end} on; copy or pack it again")
    return None
