"""One hostile input of benchmarks/fuzz.py: made, given to its command, and judged."""

from __future__ import annotations

import argparse
import contextlib
import errno
import faulthandler
import io
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXIT_UNFORESEEN = 70
RIGHT_EXIT_CODES = (0, 1, 2, 3, 130)
HANG_SECONDS = 60
MEMORY_GB = 4.0


@dataclass(frozen=True)
class Finding:
    """An input that the product did not bear.

    what: `traceback`, `unforeseen`, `hang`, `crash`, `foreign file`, `memory`; `refused`, of an
        input that was not damaged.
    done: what was done to the good input; text: the end of what was printed.
    """

    kind: str
    number: int
    what: str
    done: str
    command: str
    text: str


@dataclass(frozen=True)
class Started:
    """The input that a process works on from now on: the one to blame where it dies."""

    number: int


@dataclass(frozen=True)
class Passed:
    """An input that was answered as it should be, with this exit code."""

    kind: str
    code: int


class Hang(BaseException):
    """The time for one input is over; no `except Exception` stops this."""


class Watch:
    """Refuses and notes every file that would be written, made or moved outside of some folders.

    Refused, because hostile arguments name places of the machine, and a fuzz may run as root. It
    sees what Python does, and not what a library does in its own compiled code.
    """

    def __init__(self, allowed: tuple[Path, ...]) -> None:
        self._allowed = tuple(f"{folder}{os.sep}" for folder in allowed)
        self.foreign: list[str] = []
        self.on = False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        for path in _written(event, arguments):
            if isinstance(path, str | bytes) and not self._is_allowed(os.fsdecode(path)):
                self.foreign.append(f"{event} {os.fsdecode(path)}")
                raise PermissionError(errno.EACCES, "refused by the fuzz", path)

    def _is_allowed(self, path: str) -> bool:
        whole = os.path.realpath(path)
        return f"{whole}{os.sep}".startswith(self._allowed) or "__pycache__" in whole


def _written(event: str, arguments: tuple[Any, ...]) -> Sequence[Any]:
    """The paths that one of Python's audit events makes, changes or removes."""
    if event == "open":
        path, mode, flags = arguments
        if path == os.devnull:
            return []
        writes = (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or set(mode or "") & set(
            "wax+"
        )
        return [path] if writes else []
    if event in ("os.mkdir", "os.remove", "os.rmdir"):
        return [arguments[0]]
    if event == "os.symlink":
        return [arguments[1]]
    if event in ("os.rename", "os.link"):
        return arguments[:2]
    if event in ("subprocess.Popen", "os.system") and "git" not in str(arguments[0]):
        return [f"process {arguments[0]}"]
    return []


def work(sandbox: Path, options: argparse.Namespace, first: int, queue: Any) -> None:
    """Try one input of each kind after the other, and put what comes of each in the queue."""
    for name in ("home", "tmp", "good", "cwd"):
        (sandbox / name).mkdir()
    os.environ |= _environment(sandbox)
    tempfile.tempdir = str(sandbox / "tmp")
    os.chdir(sandbox / "cwd")
    from fuzz_inputs import kinds

    makers = kinds(sandbox / "good")
    watch = Watch(tuple(sandbox / name for name in ("home", "tmp", "cwd", "input")))
    for kind in options.kind:
        # Where an undamaged one is refused, a damaged one that is refused shows nothing.
        outcome = try_input(makers[kind], sandbox, kind, None, options.seed, watch)
        if isinstance(outcome, Finding):
            queue.put(outcome)
            return
    for number in range(first, options.first + options.inputs):
        kind = kind_of(number, options.kind)
        queue.put(Started(number))
        queue.put(try_input(makers[kind], sandbox, kind, number, options.seed, watch))


def kind_of(number: int, kinds: Sequence[str]) -> str:
    return kinds[number % len(kinds)]


def try_input(
    make: Any, sandbox: Path, kind: str, number: int | None, seed: int, watch: Watch
) -> Finding | Passed:
    """Make one input, give it to its command, and judge what happens.

    number: of the damaged input; None for the undamaged one.
    """
    folder = sandbox / "input"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rng = None if number is None else random.Random(f"{seed} {kind} {number}")  # noqa: S311
    done, arguments = make(folder, rng)
    watch.foreign.clear()
    code, text, what = _call(arguments, watch)
    what = what or _judge(code, text, watch.foreign, is_asked=kind == "arguments")
    if number is None and code != 0:
        what = what or "refused"
    if not what:
        return Passed(kind, int(code or 0))
    if code == EXIT_UNFORESEEN:
        text += "".join(_read(log) for log in re.findall(r"in (\S+\.log)", text)[:1])
    text += "\n".join(watch.foreign[:5])
    command = " ".join(map(repr, arguments))[:500]
    return Finding(kind, -1 if number is None else number, what, done, command, text[-3000:])


def _call(arguments: list[str], watch: Watch) -> tuple[Any, str, str]:
    """Run one command; return its exit code, what it printed, and `hang` or `traceback`, if so."""
    from zsd_ray.cli import main

    printed = io.StringIO()
    hung: list[bool] = []

    def hang(*_: object) -> None:
        hung.append(True)  # the product turns what it did not foresee into an exit code
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG_SECONDS)
    faulthandler.dump_traceback_later(4 * HANG_SECONDS, exit=True)  # where no signal is heard
    code, what = None, ""
    watch.on = True
    try:
        with _printing_to(printed):
            code = main(arguments)
    except SystemExit as end:  # argparse's
        code = end.code  # type: ignore[assignment]
    except BaseException:  # noqa: BLE001 - also Hang
        what = "traceback"
        printed.write(traceback.format_exc())
    finally:
        watch.on = False
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    return code, printed.getvalue(), "hang" if hung else what


def _judge(code: Any, text: str, foreign: list[str], is_asked: bool) -> str:
    """What is wrong with an outcome, if anything; `is_asked`: the arguments name places."""
    if code not in RIGHT_EXIT_CODES:
        return "unforeseen"
    if "Traceback (most recent call last)" in text:
        return "traceback"
    if foreign and not is_asked:
        return "foreign file"
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return "memory" if gigabytes > MEMORY_GB else ""


def _environment(sandbox: Path) -> dict[str, str]:
    home = str(sandbox / "home")
    folders = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "MPLCONFIGDIR"), home)
    return folders | {
        "TMPDIR": str(sandbox / "tmp"),
        "HF_HUB_OFFLINE": "1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nothing listens there
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def _printing_to(printed: io.StringIO) -> Iterator[None]:
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
