"""A local or remote file that is read in byte ranges."""

from __future__ import annotations

import io

from zsd_ray.data.location import Location

# A request takes a store about as long as these bytes do.
_BLOCK = 64 * 1024


class _Ranges(io.RawIOBase):
    def __init__(self, location: Location, path: str) -> None:
        size = location.size(path)
        if size is None:
            raise FileNotFoundError(f"no file at {location.show(path)}")
        self._location, self._path, self._size, self._at = location, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._size)
        data = self._location.read_bytes(self._path, self._at, end) if end > self._at else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_ranges(location: Location, path: str) -> io.BufferedReader:
    """Open the file at a full path for random access.

    Each read is a separate request for a byte range, with retries, so only the needed bytes are
    read, and no connection is held.

    Raises:
        FileNotFoundError: there is no file.
    """
    return io.BufferedReader(_Ranges(location, path), _BLOCK)
