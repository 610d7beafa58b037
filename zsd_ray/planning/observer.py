"""Watches a run's scheduler: checks its state, keeps an event log (docs/how-to/event-log.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from zsd_ray.records.redaction import reason, redact
from zsd_ray.scheduling.beginning import Beginning
from zsd_ray.scheduling.event_log import EventLog
from zsd_ray.scheduling.events import Assign, Event, Instruction
from zsd_ray.scheduling.scheduler import Scheduler

VALIDATE, EVENT_LOG = "ZSD_RAY_VALIDATE", "ZSD_RAY_EVENT_LOG"


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an observer's environment variables, for a process in another folder."""
    found = {name: environment[name] for name in (VALIDATE, EVENT_LOG) if environment.get(name)}
    if EVENT_LOG in found and "://" not in found[EVENT_LOG]:
        found[EVENT_LOG] = os.path.abspath(found[EVENT_LOG])
    return found


class Observer:
    """Passes events to a scheduler; after each it checks the state and logs the instructions.

    Both only where the environment asks for it: ZSD_RAY_VALIDATE=1, ZSD_RAY_EVENT_LOG=FOLDER, on
    the machine of the scheduler. A log that cannot be written ends there, and the run continues.

    Args:
        scheduler: made from `beginning`, and given no event yet.
        name: of the log's file; an existing file is never overwritten.
        warn: called with one line about each failure.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        beginning: Beginning,
        name: str,
        environment: Mapping[str, str],
        warn: Callable[[str], object],
    ) -> None:
        self._scheduler = scheduler
        self._warn = warn
        self._file: IO[bytes] | None = None
        self._log: EventLog | None = None
        asked = environment.get(VALIDATE, "")
        self._validating = asked == "1"
        if asked not in ("", "0", "1"):
            warn(f"{VALIDATE} is {asked!r}; 1 turns it on, 0 or nothing leaves it off")
        folder = environment.get(EVENT_LOG, "")
        if "://" in folder:
            warn(f"{EVENT_LOG} is {redact(folder)}; it must be a local folder, so no log is kept")
        elif folder:
            self._path = os.path.join(folder, f"{name}.jsonl")
            self._open(beginning)

    def handle(self, event: Event) -> list[Instruction]:
        """Handle an event, like `Scheduler.handle`.

        Raises:
            AssertionError: the scheduler's state is broken, where that is checked.
        """
        if self._log is None and not self._validating:
            return self._scheduler.handle(event)
        touched = self._scheduler.images_of(event.worker) if self._validating else set()
        self._write(lambda log: log.event(event))
        instructions = self._scheduler.handle(event)
        self._write(lambda log: log.answer(instructions))
        if self._validating:
            for instruction in instructions:
                if isinstance(instruction, Assign):
                    touched.update(item.image for item in instruction.micro_batch.items)
            self._scheduler.validate(touched)
        return instructions

    def close(self) -> None:
        """Close the log; lines written before are kept even without this."""
        self._log = None
        if self._file is not None:
            with suppress(OSError):  # a full disk takes no more of the buffer
                self._file.close()

    def _open(self, beginning: Beginning) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            self._file = open(self._path, "xb")  # noqa: SIM115 - `close` does
            self._log = EventLog(beginning, self._put)
        except OSError as error:
            self._end(error)

    def _put(self, line: bytes) -> None:
        assert self._file is not None
        self._file.write(line)
        self._file.flush()  # the events of a process are kept even if it is killed

    def _write(self, write: Callable[[EventLog], None]) -> None:
        if self._log is None:
            return
        try:
            write(self._log)
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        why = reason(error, self._path)
        self._warn(f"the event log {redact(self._path)} ends here: {why}; the run continues")
        self.close()
