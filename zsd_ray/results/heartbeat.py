"""OUTPUT/progress.json: a run's last heartbeat, for other shells and other drivers."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from zsd_ray.records.errors import DamagedFile, UserError
from zsd_ray.records.redaction import redact, redacted
from zsd_ray.results.output import Output
from zsd_ray.results.progress import Progress
from zsd_ray.results.record_file import Status, read_record
from zsd_ray.storage.store import Store

BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""A running run that was not heard of for so long shows no sign of life."""

_NAME = "progress.json"
_WATCH_SECONDS = 12
_CLOSE_SECONDS = 10.0

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Heartbeat:
    """The message that one session of a run writes every few seconds.

    session: its name; pid_space: the processes among which `pid` means something.
    at: the time of the message, by its own clock.
    """

    session: str
    status: Status
    at: str
    host: str
    pid: int
    pid_space: str
    progress: Progress

    @classmethod
    def now(cls, session: str, status: Status, progress: Progress, at: datetime) -> Self:
        """Return a heartbeat of this process."""
        stamp = at.isoformat(timespec="milliseconds")
        host, pid = socket.gethostname(), os.getpid()
        return cls(session, status, stamp, host, pid, _pid_space(), progress)

    @property
    def writer(self) -> str:
        return f"process {self.pid} on {self.host}"

    def age(self, now: datetime) -> float:
        """Return the seconds since the beat; two machines' clocks may differ."""
        return max(0.0, (now - datetime.fromisoformat(self.at)).total_seconds())

    def to_json(self) -> str:
        return json.dumps(redacted(asdict(self)), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Parse a heartbeat, ignoring keys of a newer version; raises UserError if it is none."""
        found = read_record(cls, text, _NAME, "it is written anew")
        try:
            known = datetime.fromisoformat(found.at).tzinfo is not None
        except ValueError:
            known = False
        if not known:
            raise DamagedFile(_NAME, f"at {found.at!r} is no time", "it is written anew")
        return found


class Heart:
    """Writes heartbeats from its own thread: a slow or unreachable store delays no run.

    A slow beat makes the next ones be skipped. Set `progress` whenever it changes.
    """

    def __init__(
        self, output: Output, session: str, progress: Progress, seconds: float = BEAT_SECONDS
    ) -> None:
        self.progress = progress
        self._output = output
        self._session = session
        self._seconds = seconds
        self._status: Status = "running"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self, status: Status) -> None:
        """Write how the run ended, with a short timeout."""
        self._status = status
        self._stopped.set()
        self._thread.join(_CLOSE_SECONDS)

    def _beat(self) -> None:
        self._write()
        while not self._stopped.wait(self._seconds):
            self._write()
        self._write()

    def _write(self) -> None:
        beat = Heartbeat.now(self._session, self._status, self.progress, _utc_now())
        # Every error, on purpose: this is only for display, and the record is run.json.
        with suppress(Exception):
            self._output.write_bytes(_NAME, beat.to_json().encode())


def read_heartbeat(path: str, store: Store) -> Heartbeat | None:
    """Return the last heartbeat of the output at `path`; None if there is no readable one.

    Raises:
        StoreError: its store does not answer.
    """
    fs, root = store.open(path)
    try:
        content = store.ask(path, lambda: fs.cat_file(f"{root.rstrip('/')}/{_NAME}"))
        return Heartbeat.from_json(content)
    except (FileNotFoundError, IsADirectoryError, PermissionError, UserError):
        return None  # only for display: an invalid file counts as missing


def beats(
    path: str, store: Store, last: Heartbeat, seconds: int, sleep: Callable[[float], None]
) -> bool:
    """Return whether another beat follows the last within some seconds, whatever its clock."""
    for _ in range(seconds):
        sleep(1.0)
        seen = read_heartbeat(path, store)
        if seen is not None and (seen.session, seen.at) != (last.session, last.at):
            return True
    return False


def refuse_second_driver(
    path: str,
    store: Store,
    on_wait: Callable[[str], None],
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return if no other driver works on the output at `path`.

    A heartbeat may be that of a driver that was killed, so it is watched for a while: its age says
    nothing, because clocks go back and differ among machines. Two drivers that start in the same
    second do not see each other; their rows are right all the same, and the work is done twice.

    Args:
        on_wait: called with one line before the watching.

    Raises:
        UserError: another driver is alive.
    """
    last = read_heartbeat(path, store)
    if last is None or not may_live(last):
        return
    now = (clock or _utc_now)()
    what = f"output.path {redact(path)}"
    on_wait(
        f"{what} was written to {last.age(now):.0f} s ago by {last.writer}; looking for up to "
        f"{_WATCH_SECONDS} s whether that driver is alive"
    )
    for _ in range(_WATCH_SECONDS):
        sleep(1.0)
        seen = read_heartbeat(path, store)
        if seen is not None and seen.status != "running":
            return
        if seen is not None and (seen.session, seen.at) != (last.session, last.at):
            raise UserError(
                f"{what} is being written by {seen.writer}; wait until it ends, stop it, or "
                "choose another output.path (--fresh finds one)"
            )


def may_live(beat: Heartbeat) -> bool:
    """Return whether another process may still be writing."""
    if beat.status != "running":
        return False
    return beat.pid_space != _pid_space() or (beat.pid != os.getpid() and _is_alive(beat.pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's process
    return True


def _pid_space() -> str:
    """Return an id of this machine's boot and this container; host names may occur twice."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def _utc_now() -> datetime:
    return datetime.now(UTC)
