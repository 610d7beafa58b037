"""MLflow's SQLite file: created atomically by one process at a time, and checked for damage.

MLflow makes its tables in the file itself, in some seconds and many steps. Two processes that do so
together break it for good, and so does one that is killed meanwhile. Here it is made under another
name, and renamed when it is complete.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

_LOOK_SECONDS = 0.1
_MAKING_SECONDS = 30.0
"""A file without all tables that was written to so lately may be one that another program makes."""


class BrokenFileError(Exception):
    """The file cannot be used: one line that names it and says what to do."""

    def __init__(self, file: Path, why: str) -> None:
        name = shlex.quote(str(file))
        super().__init__(
            f"MLflow's file {file} cannot be used ({why}); move it away (mv {name} {name}.old) and "
            "the next run makes a new one, or name another with tracking.mlflow; the output folder "
            "has all results"
        )


def file_of(uri: str) -> Path | None:
    """Return the file that a tracking URI names; None for a server, or a database in memory."""
    if not uri.lower().startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return None if not name or name.startswith((":memory:", "file:")) else Path(name)


@contextmanager
def alone_with(file: Path, stop: threading.Event) -> Iterator[None]:
    """Hold a lock on this folder, which one process of this machine can have at a time.

    If folders cannot be locked, as on some network file systems, it continues without a lock.

    Args:
        stop: ends the waiting.
    """
    import fcntl

    folder = os.open(file.parent, os.O_RDONLY)
    try:
        with suppress(OSError):
            while not stop.is_set():
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    stop.wait(_LOOK_SECONDS)
        yield
    finally:
        os.close(folder)  # and so releases the lock


def make_file(file: Path, stop: threading.Event) -> None:
    """Make the file with all its tables if there is none, and check an existing one.

    Args:
        stop: ends the waiting for a file that another program is making.

    Raises:
        BrokenFileError: it is no file of MLflow's, or was left half made.
    """
    if not file.exists():
        _make(file)
        return
    while (fault := _fault(file)) is not None:
        age = time.time() - file.stat().st_mtime
        if age > _MAKING_SECONDS or stop.is_set():
            raise BrokenFileError(file, fault)
        stop.wait(_LOOK_SECONDS)


def is_busy(error: BaseException) -> bool:
    """Return whether SQLite reports that another process is writing."""
    return "database is locked" in str(error)


def _make(file: Path) -> None:
    from mlflow.store.db import utils

    whole = file.with_name(f".{file.name}.{uuid.uuid4().hex[:12]}")
    try:
        engine = utils.create_sqlalchemy_engine(f"sqlite:///{whole}")
        utils._initialize_tables(engine)
        engine.dispose()  # SQLite's locks end with the first handle of a file that is closed
        for name in ("-journal", "-wal", "-shm"):  # those of a file that was removed
            file.with_name(file.name + name).unlink(missing_ok=True)
        _name(whole, file)
    finally:
        for name in ("", "-journal"):
            whole.with_name(whole.name + name).unlink(missing_ok=True)


def _name(whole: Path, file: Path) -> None:
    """Give the new file its name, unless another process has made the file meanwhile."""
    try:
        os.link(whole, file)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        whole.rename(file)


def _fault(file: Path) -> str | None:
    """Return what is wrong with a file, judged by its tables; an empty file is valid."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True)
        try:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not names:
                return None
            versions = "SELECT count(*) FROM alembic_version"
            if "alembic_version" in names and connection.execute(versions).fetchone()[0]:
                return None
        finally:
            connection.close()
    except sqlite3.Error as error:
        return None if is_busy(error) else str(error)
    if "experiments" not in names:
        return "it is the database of another program"
    return "it was left half made by a process that was ended meanwhile"
