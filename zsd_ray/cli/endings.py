"""How a failed or interrupted command ends: an exit code, and one line on stderr."""

from __future__ import annotations

import errno
import platform
import shlex
import sys
import tempfile
import traceback
from importlib.metadata import version
from typing import NamedTuple

from zsd_ray.records.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_UNEXPECTED,
    RunBrokenError,
    StoreError,
    UserError,
)
from zsd_ray.records.redaction import redact

_GO_ON = "run the same command again to resume"
_LONGEST = 2000
"""Characters of a line: what came may be a file of its own."""

_OF_THE_MACHINE = {
    errno.ENOSPC: "free some, and",
    errno.EDQUOT: "free some, and",
    errno.EACCES: "allow it, and",
    errno.EPERM: "allow it, and",
    errno.EROFS: "name another place, or",
    errno.EMFILE: "raise `ulimit -n`, and",
    errno.ENFILE: "close other programs, and",
    errno.ENOMEM: "free some, and",
    errno.EIO: "look after the disk, and",
    errno.EAGAIN: "close other programs, and",
}
"""What the operating system refuses for a reason that is not the program's, and what helps."""


class Ending(NamedTuple):
    """An exit code, and the line that explains it."""

    code: int
    line: str


def ending_of(error: BaseException) -> Ending:
    """Return the ending for an error; an unexpected error leaves its traceback in a file."""
    match error:
        case UserError():
            ending = Ending(EXIT_BAD_INPUT, f"error: {error}")
        case RunBrokenError():
            ending = Ending(EXIT_FAILED, f"error: {error}{_trace_of_cause(error)}")
        case StoreError():
            ending = Ending(EXIT_FAILED, f"error: {error}; {_GO_ON}")
        case KeyboardInterrupt():
            ending = Ending(EXIT_INTERRUPTED, f"interrupted; {_GO_ON}")
        case OSError(errno=number) if number in _OF_THE_MACHINE:
            what = "" if error.filename is None else f"{error.filename}: "
            ending = Ending(
                EXIT_FAILED, f"error: {what}{error.strerror}; {_OF_THE_MACHINE[number]} {_GO_ON}"
            )
        case MemoryError():
            ending = Ending(
                EXIT_FAILED,
                "error: memory ran out; free some, or lower cluster.batch_size or "
                f"cluster.workers, and {_GO_ON}",
            )
        case _ if isinstance(_first_cause(error), KeyboardInterrupt):
            # Compiled libraries wrap errors raised by the functions that they call.
            ending = Ending(EXIT_INTERRUPTED, f"interrupted; {_GO_ON}")
        case _:
            ending = Ending(EXIT_UNEXPECTED, _unexpected(error))
    return Ending(ending.code, "zsd-ray: " + one_line(ending.line))


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def one_line(text: str) -> str:
    """Return a text without secrets, line breaks and control codes, cut if it is very long."""
    text = redact(" ".join(text.split()))
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _unexpected(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    text = str(error).strip().split("\n")[-1]
    what = type(error).__name__ + (f": {text[:300]}" if text else "")
    return (
        f"error: unexpected {what}{place}; this is a fault of zsd-ray{_kept(error)}; what was "
        "written is kept"
    )


def _trace_of_cause(error: BaseException) -> str:
    """Keep the traceback of the error that broke a run, if that error was unexpected."""
    cause = error.__cause__
    while isinstance(cause, RunBrokenError):
        cause = cause.__cause__
    return "" if cause is None or isinstance(cause, UserError | OSError) else _kept(error)


def _kept(error: BaseException) -> str:
    """Write an error's traceback to its own file and say where; if that fails, print it."""
    text = redact(
        f"zsd-ray {version('zsd-ray')}, Python {platform.python_version()}\n"
        f"{shlex.join(sys.argv)}\n\n{''.join(traceback.format_exception(error))}"
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="zsd-ray-error-",
            suffix=".log",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        return ", and its traceback is above, for no file could take it"
    return f"; the traceback is in {file.name}"
