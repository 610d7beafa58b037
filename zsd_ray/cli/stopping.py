"""SIGTERM (`ray job stop`, Kubernetes, Slurm) and Ctrl-C end a command the same way, any time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

EXIT_STOPPED = 130  # spec.errors has it too; nothing heavy is imported before the handlers are set

_IMPORTING = "<frozen importlib._bootstrap>"
_LOOK_SECONDS = 0.02
_ONCE_SECONDS = 5.0
"""Schedulers send SIGTERM to a whole group and to its leader: so soon again, it is the same one."""


@contextmanager
def stoppable(command: CodeType, owner: bool) -> Iterator[None]:
    """Raise KeyboardInterrupt inside this context when SIGTERM or Ctrl-C arrives.

    During an import it is raised only after the import: an exception there may reach C++ code that
    does not handle it, and abort the process.

    Args:
        command: code of the function; its frames and those that it calls are searched for imports.
        owner: whether the process exists for this command only. A SIGTERM after the command then
            does not change how it ends. Other processes get their own handlers back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as by nohup
        before[signal.SIGINT] = signal.default_int_handler
    stop = _Stop(command)
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, old in before.items():
            # Not a function: Python takes those back long before a process has ended.
            signal.signal(number, signal.SIG_IGN if owner and number == signal.SIGTERM else old)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if stop.waits:
        raise KeyboardInterrupt


class _Stop:
    """The handler. `waits`: a signal came during an import that has not finished yet."""

    def __init__(self, command: CodeType) -> None:
        self.waits = False
        self._command = command
        self._last = -_ONCE_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.waits = _is_importing(frame, self._command)
        if self.waits:
            # No thread: an import may hold what starting one waits for.
            signal.signal(signal.SIGALRM, lambda _, frame: self(number, frame))
            signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS)
            return
        now = time.monotonic()
        if number == signal.SIGTERM and now - self._last < _ONCE_SECONDS:
            return
        self._last = now
        raise KeyboardInterrupt


def _is_importing(frame: FrameType | None, command: CodeType) -> bool:
    """Return whether the command is inside an import, possibly of a compiled library."""
    while frame is not None and frame.f_code is not command:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
