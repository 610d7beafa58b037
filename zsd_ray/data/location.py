"""A path or fsspec URL of input data: its files, its bytes, and its name without secrets."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from zsd_ray.spec.errors import UserError
from zsd_ray.spec.secrets import redact

_LONGEST_REASON = 200


class Location:
    """Where data lies. Picklable: each process opens the filesystem for itself.

    Attributes:
        shown: the absolute path or the URL, without user, password and query.
    """

    def __init__(self, path: str) -> None:
        is_url = "://" in path or "::" in path
        self._url = path if is_url else os.path.abspath(os.path.expanduser(path))
        self.shown = redact(self._url).rstrip("/") or "/"

    def __getstate__(self) -> dict[str, Any]:
        return {"_url": self._url, "shown": self.shown}

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        fs, root = fsspec.core.url_to_fs(self._url)
        return fs, root

    @property
    def root(self) -> str:
        """The path as the filesystem writes it."""
        return self._opened[1]

    def kind(self) -> str | None:
        """Return "file", "directory" or "other"; None where there is nothing."""
        fs, root = self._opened
        try:
            return str(fs.info(root)["type"])
        except FileNotFoundError:
            return None

    def files(self) -> list[str]:
        """Names, relative to this folder, of all files below it that are not hidden; sorted."""
        fs, root = self._opened
        paths = _walk(root) if isinstance(fs, LocalFileSystem) else fs.find(root)
        names = (path[len(root) :].lstrip("/") for path in paths)
        return sorted(name for name in names if _is_visible(name))

    def glob(self) -> list[str]:
        """Full paths of the files that this path matches as a pattern, sorted."""
        fs, root = self._opened
        found = fs.glob(root, detail=True)
        return sorted(path for path, info in found.items() if info["type"] != "directory")

    def join(self, name: str) -> str:
        return posixpath.join(self.root, name)

    def show(self, path: str) -> str:
        """A full path as people would open it, without secrets."""
        fs = self._opened[0]
        return path if isinstance(fs, LocalFileSystem) else redact(fs.unstrip_protocol(path))

    def open(self, path: str) -> IO[bytes]:
        file: IO[bytes] = self._opened[0].open(path, "rb")
        return file

    def read_bytes(self, path: str) -> bytes:
        content: bytes = self._opened[0].cat_file(path)
        return content

    def reason(self, error: BaseException) -> str:
        """What `error` says, in one line that tells no secret of this location."""
        if isinstance(error, FileNotFoundError):
            return "no such file or folder"
        if redact(self._url) != self._url:
            return type(error).__name__  # its text may hold any piece of the URL
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        text = " ".join(str(error).split())
        return text[:_LONGEST_REASON] or type(error).__name__

    @contextmanager
    def user_errors(self, what: str) -> Iterator[None]:
        """Turn what a filesystem or file format raises into a UserError: cannot read `what`."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # botocore, pyarrow and aiohttp share no base class
            raise UserError(f"cannot read {what}: {self.reason(error)}") from error


def _is_visible(name: str) -> bool:
    # Object stores may list a folder as an empty object whose name ends in a slash.
    return (
        name != ""
        and not name.endswith("/")
        and not any(part.startswith(".") for part in name.split("/"))
    )


def _walk(root: str) -> Iterator[str]:
    """Every file below a local folder. fsspec's walk follows no links and hides errors."""

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=fail, followlinks=True):
        folders[:] = [name for name in folders if not _is_loop(os.path.join(folder, name))]
        for name in names:
            yield os.path.join(folder, name)


def _is_loop(folder: str) -> bool:
    """Whether a folder is a link to one of the folders that lead to it."""
    if not os.path.islink(folder):
        return False
    target, above = os.path.realpath(folder), os.path.dirname(folder)
    while above != os.path.dirname(above):
        if os.path.realpath(above) == target:
            return True
        above = os.path.dirname(above)
    return target == above
