"""Replays the event log of a scheduler (docs/how-to/event-log.md), and says where it departs.

    python benchmarks/replay_events.py FILE [--json]
    python benchmarks/replay_events.py --quick

A scheduler is made like the log's and given the same events; after each, its state is checked and
its instructions are compared with those of then. Handling times are this machine's, the checks not
in them. Exit code 0: it did the same to the end of the log; 1: it departed, or broke.
--quick records a small made-up run in a folder of its own, and replays that.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from made_up_scores import WORKLOADS, ScoreTable

from zsd_ray.records.errors import EXIT_BAD_INPUT, UserError
from zsd_ray.records.scores import Decision
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.scheduling.beginning import Beginning
from zsd_ray.scheduling.event_log import EventLog, Step, digest, read
from zsd_ray.scheduling.events import (
    Assign,
    Decide,
    Event,
    ScoresArrived,
    WorkerJoined,
    WorkRequested,
)
from zsd_ray.scheduling.scheduler import Scheduler


@dataclass
class Times:
    """Handling times of one kind of event, in seconds."""

    count: int = 0
    total: float = 0.0
    largest: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.largest = max(self.largest, seconds)


@dataclass
class Replay:
    """What came of a log.

    departed: the first event, counted from 1, whose instructions are others; None: none.
    broke: what was raised at the last event, if anything was.
    cut: the log ends with an event whose instructions it does not have.
    """

    times: dict[str, Times] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    departed: int | None = None
    broke: str | None = None
    cut: bool = False

    @property
    def same(self) -> bool:
        """Whether all came out as it did then."""
        return self.departed is None and self.broke is None

    @property
    def plain(self) -> dict[str, Any]:
        kinds = {
            kind: {
                "count": times.count,
                "mean_seconds": times.total / times.count,
                "largest_seconds": times.largest,
            }
            for kind, times in self.times.items()
        }
        ends = {"departed": self.departed, "broke": self.broke, "cut": self.cut}
        return {"same": self.same, **ends, "events": kinds, "state": self.state}


def replay(path: Path) -> Replay:
    """Replay a log.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    found = Replay()
    try:
        with path.open("rb") as file:
            beginning, steps = read(file, str(path))
            scheduler = beginning.scheduler()
            for number, step in enumerate(steps, start=1):
                try:
                    _tell(scheduler, step, number, found)
                except Exception as error:  # noqa: BLE001 - the scheduler broke: that is the result
                    found.broke = f"event {number}: {type(error).__name__}: {error}"
                    break
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    found.state = {
        "finished": scheduler.finished,
        "open": scheduler.n_open,
        "unopened": scheduler.n_unopened,
        **asdict(scheduler.counters),
    }
    return found


def _tell(scheduler: Scheduler, step: Step, number: int, found: Replay) -> None:
    touched = scheduler.images_of(step.event.worker)
    before = time.perf_counter()
    instructions = scheduler.handle(step.event)
    seconds = time.perf_counter() - before
    found.times.setdefault(type(step.event).__name__, Times()).add(seconds)
    found.decisions += [i.decision for i in instructions if isinstance(i, Decide)]
    found.cut = step.digest is None
    if not found.cut and found.departed is None and digest(instructions) != step.digest:
        found.departed = number
    for instruction in instructions:
        if isinstance(instruction, Assign):
            touched.update(item.image for item in instruction.micro_batch.items)
    scheduler.validate(touched)


def show(found: Replay) -> None:
    print(f"{'event':16}{'count':>10}{'mean ms':>10}{'largest ms':>12}")
    for kind, times in found.times.items():
        mean, largest = 1e3 * times.total / times.count, 1e3 * times.largest
        print(f"{kind:16}{times.count:10,}{mean:10.3f}{largest:12.3f}")
    state = found.state
    print(
        f"decisions {state['decided']:,}, evaluations {state['n_evaluations']:,}, scored "
        f"{state['n_scored']:,}; {state['open']:,} images open, {state['unopened']:,} not opened"
    )
    if found.broke is not None:
        print(f"the scheduler broke at {found.broke}")
    if found.departed is not None:
        print(f"the instructions depart at event {found.departed}")
    if found.cut:
        print("the log ends with an event that was not answered")
    if found.same:
        print("every instruction as it was then")


def record_made_up(path: Path, n_images: int = 20) -> None:
    """Log a run of one worker over made-up scores."""
    table, n_classes = ScoreTable(WORKLOADS["cifar10"], seed=0), 10
    records = table.records(n_images)
    beginning = Beginning(records, range(n_images), ClarkJainiPruning(), n_classes, n_classes)
    scheduler = beginning.scheduler()
    with path.open("wb") as file:
        log = EventLog(beginning, file.write)
        events: list[Event] = [WorkerJoined("w", 64), WorkRequested("w")]
        while events:
            event = events.pop(0)
            log.event(event)
            instructions = scheduler.handle(event)
            log.answer(instructions)
            for instruction in instructions:
                if isinstance(instruction, Assign):
                    batch = instruction.micro_batch
                    scores = table.score(batch, batch.n_scores, 0.1)
                    events += [ScoresArrived("w", scores), WorkRequested("w")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, help="the log: SESSION-SHARD-....jsonl")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="a small log of its own making")
    options = parser.parse_args()
    if (options.file is None) != options.quick:
        parser.error("give the file of a log, or --quick")
    try:
        if options.quick:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "quick.jsonl")
                record_made_up(path)
                found = replay(path)
        else:
            found = replay(options.file)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT) from error
    if options.json:
        print(json.dumps(found.plain))
    else:
        show(found)
    raise SystemExit(0 if found.same else 1)


if __name__ == "__main__":
    main()
