"""Files of an output on this machine's filesystem: written atomically, also on a full disk."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

_OLD_SECONDS = 3600.0
"""What no driver of today can still be writing."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: str, content: bytes) -> None:
    """Write a file under a temporary name, and rename it; raises OSError.

    No other process has that name: two that write the same file do not remove each other's. A path
    that is no regular file (/dev/null, a pipe) is not replaced by one.
    """
    if os.path.lexists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        raise FileExistsError(errno.EEXIST, "something that is no file is there", path)
    folder, base = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/.{base}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        # On a full disk it would take the space that the next, smaller file needs.
        Path(temporary).unlink(missing_ok=True)
        raise


def what_is_no_file(path: str) -> str | None:
    """Return the kind of a path's non-regular file; None for a regular file or nothing.

    Nothing is opened: a pipe that nobody writes to would be waited for.
    """
    if os.path.isfile(path) or not os.path.lexists(path):
        return None
    if os.path.isdir(path):
        return "a folder"
    return "a link to nothing" if not os.path.exists(path) else "no file, but a pipe or a device"


def write_over(path: str, content: bytes, error: OSError) -> None:
    """Write into the space of an existing file, if a full disk has none for another.

    Not atomic, so only for files that are better broken than out of date.

    Raises:
        OSError: `error`, if the disk was not full or the file is shorter.
    """
    if error.errno not in _FULL or not os.path.isfile(path) or os.path.getsize(path) < len(content):
        raise error
    with open(path, "r+b") as file:
        file.write(content.ljust(os.path.getsize(path)))
        file.flush()
        os.fsync(file.fileno())


def remove_leftovers(root: str) -> None:
    """Remove the temporary files that killed writers left in an output and its folders.

    A recent one may be being written by another driver. Ages are by the filesystem's own
    clock, which machines may share without sharing theirs.
    """
    found = list(_temporary(Path(root)))
    if not found:
        return
    probe = Path(root, f".{uuid.uuid4().hex[:8]}.tmp")
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink()
    for leftover in found:
        try:
            if now - leftover.stat().st_mtime > _OLD_SECONDS:
                leftover.unlink()
        except FileNotFoundError:
            continue  # another driver was faster


def _temporary(root: Path) -> Iterator[Path]:
    yield from root.glob(".*.tmp")
    yield from root.glob("*/.*.tmp")
