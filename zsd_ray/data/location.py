"""A path or fsspec URL of input data: its files, its bytes, and its name without secrets."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any, TypeVar

from fsspec.implementations.local import LocalFileSystem

from zsd_ray.records.errors import ImageError, StoreError, UserError
from zsd_ray.records.redaction import redact
from zsd_ray.storage.filesystem import find_matching
from zsd_ray.storage.store import Store

T = TypeVar("T")


class Location:
    """The location of data. Picklable: each process opens the filesystem for itself.

    Every method that accesses a store retries, and raises StoreError in the end.

    Attributes:
        shown: the absolute path or the URL, without user, password and query.
    """

    def __init__(self, path: str, store: Store | None = None) -> None:
        """Access nothing yet; without a store it is reached by a plain `Store()`."""
        self._store = store or Store()
        is_url = "://" in path or "::" in path
        self._url = path if is_url else os.path.abspath(os.path.expanduser(path))
        self.shown = redact(self._url).rstrip("/") or "/"

    def __getstate__(self) -> dict[str, Any]:
        return {"_url": self._url, "shown": self.shown, "_store": self._store}

    @classmethod
    def of(cls, path: str | Location) -> Location:
        """Return a location unchanged; convert a path to one that needs no store of its own."""
        return path if isinstance(path, Location) else cls(path)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return self._store.open(self._url)

    @property
    def root(self) -> str:
        """Return the path as the filesystem writes it."""
        return self._opened[1]

    @property
    def is_local(self) -> bool:
        """Whether it is in the file system of this machine."""
        return isinstance(self._opened[0], LocalFileSystem)

    def kind(self) -> str | None:
        """Return "file", "directory" or "other"; None if nothing exists."""
        info = self._info(self.root)
        return None if info is None else str(info["type"])

    def files(self) -> list[str]:
        """Return the names, relative to this folder, of all files below it that are not hidden;
        sorted."""
        fs, root = self._opened
        walk = _walk if isinstance(fs, LocalFileSystem) else fs.find
        paths = self._ask(lambda: list(walk(root)))
        names = (path[len(root) :].lstrip("/") for path in paths)
        return sorted(name for name in names if _is_visible(name))

    def folders(self) -> list[str]:
        """Return the names of the folders in this folder that are not hidden, empty or not; sorted.

        Includes broken links: they may have led to folders. In an object store a folder exists if
            it contains an object, even only a folder marker.
        """
        fs, root = self._opened
        entries = self._ask(lambda: fs.ls(root, detail=True))
        start = f"{root.rstrip('/')}/" if root else ""
        paths = (str(each["name"]).rstrip("/") for each in entries if _leads_to_folder(each))
        names = (path.removeprefix(start) for path in paths if path.startswith(start))
        return sorted(name for name in names if _is_visible(name))

    def glob(self) -> list[str]:
        """Return full paths of the files that this path matches as a pattern, sorted."""
        fs, root = self._opened
        return self._ask(lambda: find_matching(fs, root))

    def join(self, name: str) -> str:
        return posixpath.join(self.root, name)

    def below(self, name: str) -> Location:
        """Return the location of this name, relative to this folder; "" and "." are the folder
        itself."""
        if name in ("", "."):
            return self
        return Location(f"{self._url.rstrip('/')}/{name}", self._store)

    def show(self, path: str) -> str:
        """Return a full path as users would open it, without secrets."""
        fs = self._opened[0]
        return path if isinstance(fs, LocalFileSystem) else redact(fs.unstrip_protocol(path))

    def read(self, path: str, parse: Callable[[IO[bytes]], T]) -> T:
        """Return the result of `parse` on an opened file.

        If the store fails meanwhile, `parse` runs again, from the start.
        """

        def read_once() -> T:
            self._check_plain(path)
            with self._opened[0].open(path, "rb") as file:
                return parse(file)

        return self._ask(read_once)

    def read_bytes(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return a file's bytes, or those from `start` to before `end`: fewer if it ends
        earlier."""
        fs = self._opened[0]
        self._check_plain(path)
        return self._ask(lambda: bytes(fs.cat_file(path, start=start, end=end)))

    def _check_plain(self, path: str) -> None:
        """Raise OSError for anything in a local folder that is not a file: a pipe would block for
        ever."""
        if self.is_local:
            mode = os.stat(path).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of folders, opening complains
                raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, and no file")

    def size(self, path: str) -> int | None:
        """Return the size of the file at a full path in bytes; None if there is no file."""
        info = self._info(path)
        return None if info is None or info["type"] != "file" else int(info["size"])

    def exists(self, name: str) -> bool:
        """Whether a file or folder of this name, relative to this folder, exists."""
        return self._info(self.join(name)) is not None

    def _info(self, path: str) -> dict[str, Any] | None:
        fs = self._opened[0]
        try:
            return dict(self._ask(lambda: fs.info(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def reason(self, error: BaseException) -> str:
        """Return the message of `error` in one line without secrets of this location."""
        return self._store.reason_of(error, self._url)

    @contextmanager
    def user_errors(self, what: str) -> Iterator[None]:
        """Turn exceptions of a filesystem or file format into a UserError: cannot read `what`."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # botocore, pyarrow and aiohttp share no base class
            raise self._store.user_error(f"cannot read {what}", error, self._url) from error

    @contextmanager
    def image_errors(self, source: str) -> Iterator[None]:
        """Turn exceptions from reading the image `source` into an ImageError.

        A StoreError passes: it is not the image's fault. A refused access, perhaps from expired
            credentials, becomes one, so that a later session reads the image again.
        """
        try:
            yield
        except StoreError:
            raise
        except PermissionError as error:
            raise StoreError(f"{source}: access is refused ({self.reason(error)})") from error
        except Exception as error:  # likewise
            raise ImageError(f"{source}: cannot be read ({self.reason(error)})") from error

    def _ask(self, call: Callable[[], T]) -> T:
        return self._store.ask(self._url, call)


def _is_visible(name: str) -> bool:
    # Object stores may list a folder as an empty object whose name ends in a slash.
    return (
        name != ""
        and not name.endswith("/")
        and not any(part.startswith(".") for part in name.split("/"))
    )


def _leads_to_folder(entry: dict[str, Any]) -> bool:
    if entry.get("islink"):
        return os.path.isdir(entry["name"]) or not os.path.exists(entry["name"])
    return bool(entry["type"] == "directory" or str(entry["name"]).endswith("/"))


def _walk(root: str) -> Iterator[str]:
    """Yield every file below a local folder. fsspec's walk follows no links and hides errors."""

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
