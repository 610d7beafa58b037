"""The scheduler's view of workers: each one's micro-batches, speed and open requests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from zsd_ray.records.cost import Cost
from zsd_ray.records.scores import MicroBatch, MicroBatchScores

_NEWEST = 0.3
"""Weight of the last micro-batch in a worker's speed."""


@dataclass
class PooledWorker:
    """One worker.

    rows_per_second: 0 until it has scored; in_flight: its micro-batches by id, oldest first.
    requests: its unanswered requests.
    aside: it gets no work, because it has a suspect image, or finishes its work to get one.
    """

    batch_size: int
    rows_per_second: float = 0.0
    in_flight: dict[int, MicroBatch] = field(default_factory=dict)
    requests: int = 0
    aside: bool = False


class WorkerPool:
    """The present workers, and the order in which requests are answered; every query takes
    constant time, except those about a suspect image, which are rare.

    Attributes:
        speed: rows per second of all workers together.
    """

    def __init__(self) -> None:
        self._workers: dict[str, PooledWorker] = {}
        self._waiting: dict[str, None] = {}  # workers with unanswered requests, oldest first
        self._idle: dict[str, None] = {}  # those of them with nothing in flight
        self.speed = 0.0

    def __contains__(self, name: str | None) -> bool:
        return name in self._workers

    def __getitem__(self, name: str) -> PooledWorker:
        return self._workers[name]

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def first_waiting(self) -> str | None:
        """Return the worker whose request is answered next."""
        return next(iter(self._waiting), None)

    @property
    def first_idle(self) -> str | None:
        """Return the next worker among those that have nothing in flight."""
        return next(iter(self._idle), None)

    @property
    def idle(self) -> list[str]:
        """Return workers that wait and have nothing in flight."""
        return list(self._idle)

    @property
    def n_busy(self) -> int:
        """The number of workers with something in flight."""
        return sum(bool(worker.in_flight) for worker in self._workers.values())

    @property
    def micro_batches(self) -> Iterator[MicroBatch]:
        """Return all micro-batches in flight."""
        for worker in self._workers.values():
            yield from worker.in_flight.values()

    def join(self, name: str, batch_size: int) -> None:
        """Add a worker, or update the batch size of a known one."""
        self._workers.setdefault(name, PooledWorker(batch_size)).batch_size = batch_size

    def leave(self, name: str) -> PooledWorker | None:
        """Remove a worker, and return it; None if it is not known."""
        worker = self._workers.pop(name, None)
        if worker is not None:
            self.speed -= worker.rows_per_second
            self._waiting.pop(name, None)
            self._idle.pop(name, None)
        return worker

    def request(self, name: str) -> None:
        """Take a request for one micro-batch."""
        self._workers[name].requests += 1
        self._wait(name)

    def sent(self, name: str, micro_batch: MicroBatch, alone: bool) -> None:
        """Record the answer to a request; a worker with a suspect image is left `alone` with it."""
        worker = self._workers[name]
        worker.aside = worker.aside or alone
        worker.requests -= 1
        worker.in_flight[micro_batch.id] = micro_batch
        del self._waiting[name]
        self._idle.pop(name, None)
        self._wait(name)  # behind the others

    def answered(self, name: str, scores: MicroBatchScores) -> MicroBatch | None:
        """Record scores, and return the micro-batch that they are for.

        None if it was answered before, or taken back when its worker seemed lost.
        """
        worker = self._workers.get(name)
        micro_batch = worker.in_flight.pop(scores.id, None) if worker else None
        if worker is None or micro_batch is None:
            return None
        worker.aside = False
        self._wait(name)
        if scores.seconds > 0 and scores.n_rows:
            speed, known = scores.n_rows / scores.seconds, worker.rows_per_second
            worker.rows_per_second = known + _NEWEST * (speed - known) if known else speed
            self.speed += worker.rows_per_second - known
        return micro_batch

    def dismiss(self) -> Iterator[str]:
        """Close every request, and return its worker's name, once per request."""
        for name in self._waiting:
            worker = self._workers[name]
            yield from [name] * worker.requests
            worker.requests = 0
        self._waiting.clear()
        self._idle.clear()

    def free_for_trial(self) -> str | None:
        """Return an idle worker for a suspect image: one that has scored, so its device works."""
        proven = next((name for name in self._idle if self._workers[name].rows_per_second), None)
        if proven is None and not any(w.rows_per_second for w in self._workers.values()):
            return self.first_idle
        return proven

    def set_aside(self, name: str, n_suspects: int) -> bool:
        """Let a worker that has scored finish its work, for a suspect image; False: not it."""
        worker = self._workers[name]
        enough = sum(other.aside for other in self._workers.values()) >= n_suspects
        if enough or not worker.in_flight or not worker.rows_per_second:
            return False
        worker.aside = True
        del self._waiting[name]
        return True

    def expected_seconds(self, name: str, micro_batch: int, cost: Cost) -> float | None:
        """Return the expected time of a worker's micro-batches, up to and with this one.

        None if its speed is not known yet, or it does not have the micro-batch.
        """
        worker = self._workers.get(name)
        if worker is None or not worker.rows_per_second or micro_batch not in worker.in_flight:
            return None
        rows = 0
        for id_, sent in worker.in_flight.items():
            batches = -(-cost.of(sent.items) // worker.batch_size)
            rows += batches * worker.batch_size
            if id_ == micro_batch:
                break
        return cost.slack * rows / worker.rows_per_second

    def validate(self) -> None:
        """Check the invariants between events; raises AssertionError where one is broken."""
        workers = self._workers
        assert all(worker.requests >= 0 for worker in workers.values()), "a request answered twice"
        free = {name for name, worker in workers.items() if worker.requests and not worker.aside}
        assert self._waiting.keys() == free, "other workers wait than have requests"
        idle = {name for name in free if not workers[name].in_flight}
        assert self._idle.keys() == idle, "other workers are idle than have nothing in flight"
        ids = [id_ for worker in workers.values() for id_ in worker.in_flight]
        assert len(ids) == len(set(ids)), "a micro-batch is with two workers"
        for name, worker in workers.items():
            assert worker.in_flight or not worker.aside, f"{name} is kept aside for nothing"
            for id_, micro_batch in worker.in_flight.items():
                assert id_ == micro_batch.id, f"a micro-batch of {name} has two ids"
        speed = sum(worker.rows_per_second for worker in workers.values())
        # Running sums, so with rounding errors.
        near = math.isclose(self.speed, speed, rel_tol=1e-6, abs_tol=1e-3)
        assert near, f"{self.speed} rows a second instead of {speed}"

    def _wait(self, name: str) -> None:
        """List a worker so that its requests will be seen."""
        worker = self._workers[name]
        if worker.requests and not worker.aside:
            self._waiting[name] = None
            if not worker.in_flight:
                self._idle[name] = None
