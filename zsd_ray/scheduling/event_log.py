"""A log of all events of a scheduler, which another scheduler can replay.

JSON lines: the scheduler's initial state, then each event, each followed by a digest of the
resulting instructions. Each line has a check number over itself and all lines before, so that
no line can be changed, lost or moved unseen. An event is written before it is handled: one that
breaks the scheduler is the last of its log.

Nothing here opens a file: lines are passed to and taken from the caller.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from zsd_ray.records.errors import DamagedFile
from zsd_ray.records.scores import Decision
from zsd_ray.scheduling import log_lines
from zsd_ray.scheduling.beginning import Beginning
from zsd_ray.scheduling.events import Assign, Decide, Event, Instruction, Release
from zsd_ray.scheduling.log_lines import Answer, Begin, Line

_CHECKED = re.compile(rb'\{"check":"([0-9a-f]{8})",')
_ADVICE = "it cannot be replayed; take the log as it was written"


class EventLog:
    """Writes a log.

    Args:
        write: called with each line; its exceptions are passed on.
    """

    def __init__(self, beginning: Beginning, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._check = 0
        self._line(log_lines.of_beginning(beginning))

    def event(self, event: Event) -> None:
        """Write the scheduler's next event."""
        self._line(log_lines.of_event(event))

    def answer(self, instructions: Sequence[Instruction]) -> None:
        """Write the digest of the resulting instructions."""
        self._line({"line": "answer", "digest": digest(instructions)})

    def _line(self, plain: dict[str, Any]) -> None:
        rest = json.dumps(plain, separators=(",", ":")).encode()[1:]
        self._check = zlib.crc32(rest, self._check)
        self._write(b'{"check":"%08x",%s\n' % (self._check, rest))


@dataclass(frozen=True)
class Step:
    """An event, and the digest of its instructions; None where the log ends before it."""

    event: Event
    digest: str | None


def read(lines: Iterable[bytes], shown: str) -> tuple[Beginning, Iterator[Step]]:
    """Read a log line by line, from a file that may be damaged in any way.

    A last line without its end is left out: a process that is killed leaves one.

    Args:
        shown: the file as messages say it.

    Raises:
        DamagedFile: it is no such log; also while the events are iterated.
    """
    parsed = _parsed(lines, shown)
    first = next(parsed, None)
    if not isinstance(first, Begin):
        raise DamagedFile(shown, "it does not begin as an event log", _ADVICE)
    try:
        beginning = first.beginning
        beginning.scheduler()
    except ValidationError as error:  # of its pruning section
        raise _damaged(error, shown, 1) from error
    except Exception as error:
        raise DamagedFile.of(error, shown, _ADVICE) from error
    return beginning, _steps(parsed, shown)


def _steps(parsed: Iterator[Line], shown: str) -> Iterator[Step]:
    event: Event | None = None
    for number, line in enumerate(parsed, start=2):
        if isinstance(line, Answer):
            if event is None:
                raise DamagedFile(shown, "an answer has no event", _ADVICE)
            yield Step(event, line.digest)
            event = None
            continue
        if event is not None or isinstance(line, Begin):
            raise DamagedFile(shown, "an event has no answer", _ADVICE)
        try:
            event = line.event
        except ValueError as error:
            raise DamagedFile(shown, f"line {number}: {error}", _ADVICE) from error
    if event is not None:
        yield Step(event, None)


def _parsed(lines: Iterable[bytes], shown: str) -> Iterator[Line]:
    check = 0
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return
        head = _CHECKED.match(line)
        rest = line[head.end() : -1] if head else b""
        check = zlib.crc32(rest, check)
        if head is None or int(head[1], 16) != check:
            raise DamagedFile(shown, f"line {number} is not as it was written", _ADVICE)
        try:
            yield log_lines.LINE.validate_json(b"{" + rest)
        except ValidationError as error:
            raise _damaged(error, shown, number) from error


def _damaged(error: ValidationError, shown: str, number: int) -> DamagedFile:
    return DamagedFile(shown, f"line {number}: {error.errors()[0]['msg'][:160]}", _ADVICE)


def digest(instructions: Sequence[Instruction]) -> str:
    """Return a digest of instructions, in 16 digits: the same on any machine.

    Means and gaps are left out: their last bits are numpy's.
    """
    found = hashlib.blake2b(digest_size=8)
    for instruction in instructions:
        match instruction:
            case Assign(worker, micro_batch):
                items = [(i.image, i.first_draw, i.n_draws, i.classes) for i in micro_batch.items]
                found.update(repr(("assign", worker, micro_batch.id, items)).encode())
            case Decide(decision):
                found.update(repr(("decide", *_discrete(decision))).encode())
            case Release(worker):
                found.update(repr(("release", worker)).encode())
    return found.hexdigest()


def _discrete(decision: Decision) -> tuple[object, ...]:
    return (
        decision.image_id,
        decision.prediction,
        decision.uncorrected,
        decision.top5,
        decision.draws_per_class,
        decision.n_draws,
        decision.n_evaluations,
        decision.n_spent,
        decision.stop_reason,
        decision.error,
        decision.worker,
    )
