"""The scheduler actor: translates workers' calls into events, and instructions into answers."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError

from zsd_ray.planning.observer import Observer
from zsd_ray.planning.plan import Plan
from zsd_ray.records.errors import last_line
from zsd_ray.records.redaction import redact
from zsd_ray.records.scores import Decision, MicroBatch, MicroBatchScores
from zsd_ray.results.rows.row_buffer import RowBuffer
from zsd_ray.runtime.epochs import Claim
from zsd_ray.runtime.gauges import Metrics
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.events import (
    Assign,
    Decide,
    Event,
    Release,
    ScoresArrived,
    WorkerJoined,
    WorkerLost,
    WorkRequested,
)

IDLE_SECONDS = 5.0
"""A worker that waited this long for work may be released."""

_TICK_SECONDS = 0.2
_SLOW_FACTOR = 10.0
_FIRST_FACTOR = 5.0
_REMEMBERED = 8  # calls of a worker; it has two open


@dataclass(frozen=True)
class State:
    """The scheduler's state for the driver.

    useful: the number of workers that could be busy.
    idle: workers that have waited for work for a while; overdue: those that answer too late.
    finished: every image is decided, and every row written.
    n_unwritten: rows not yet written; write_error: why they cannot be written, if so.
    notes: warnings of workers since the last time.
    """

    counters: Counters
    useful: int
    idle: tuple[str, ...]
    overdue: tuple[str, ...]
    finished: bool
    n_unwritten: int
    write_error: str | None
    notes: tuple[str, ...]


class SchedulerShell:
    """One scheduler between its workers and the sink.

    Async: a request without work waits here and blocks nobody. If its process dies, Ray restarts it
    and repeats the unanswered calls; it resumes from the rows and the checkpoint in the output.
    Scores that it did not request itself are then requested again.

    Args:
        shard, n_shards: it decides every n_shards-th image from `shard` on.
    """

    def __init__(self, plan: Plan, sink: Any, shard: int, n_shards: int) -> None:
        self._plan = plan
        self._shard = shard
        self._sink = sink
        # Parts that this actor's last process sent are written before we look, or never.
        self._claim = _claim(sink, shard)
        beginning = plan.beginning(shard, n_shards, self._claim.first_id)
        self._scheduler = beginning.scheduler()
        self._buffer = RowBuffer(plan.config.output.flush_seconds)
        self._metrics = Metrics(redact(plan.config.output.path), self._scheduler.counters)
        self._workers: dict[str, int] = {}  # those that called, and their batch sizes
        self._lost: set[str] = set()
        self._notes: list[str] = []
        # Of each process that plays this shard.
        name = f"{plan.session}-{shard}-{self._claim.token}"
        self._observer = Observer(
            self._scheduler, beginning, name, os.environ, lambda line: self._notes.append(line)
        )
        self._requests: dict[str, deque[asyncio.Future[MicroBatch | None]]] = defaultdict(deque)
        self._asked: dict[str, dict[int | None, asyncio.Future[MicroBatch | None]]]
        self._asked = defaultdict(dict)
        self._in_flight: dict[str, deque[int]] = defaultdict(deque)
        self._heard: dict[str, float] = {}  # when a worker last answered, or was sent its first
        self._room = asyncio.Event()
        self._room.set()
        self._writing = asyncio.Lock()
        self._write_error: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def exchange(
        self,
        worker: str,
        batch_size: int,
        scores: MicroBatchScores | None,
        number: int | None = None,
    ) -> MicroBatch | None:
        """Hand in the scores of a micro-batch (or none, at the start) and wait for the next.

        `number` counts a worker's calls: Ray repeats one whose connection broke, and the same call
        gets the same answer, so that no micro-batch waits for a worker that never received it.

        While the output takes no rows and too many wait, no more work is given out.

        Returns None when there will be no more work, or none for a worker that was given up.
        """
        self._start_tasks()
        if worker in self._lost:
            return None
        asked = self._asked[worker]
        if number in asked:
            return await asked[number]
        answer: asyncio.Future[MicroBatch | None] = asyncio.get_running_loop().create_future()
        if number is not None:
            asked[number] = answer
            asked.pop(number - _REMEMBERED, None)
        if worker not in self._workers:
            self._heard[worker] = time.monotonic()
        if self._workers.get(worker) != batch_size:
            self._workers[worker] = batch_size
            self._handle(WorkerJoined(worker, batch_size))
        if scores is not None:
            self._heard[worker] = time.monotonic()
            if scores.id in self._in_flight[worker]:
                self._in_flight[worker].remove(scores.id)
            self._handle(ScoresArrived(worker, scores))
        await self._room.wait()
        if worker in self._lost:
            return None
        self._requests[worker].append(answer)
        self._handle(WorkRequested(worker))
        return await answer

    async def lose(self, worker: str, blame: bool) -> None:
        """Take back the work of a lost worker; if it calls again, it gets none.

        Args:
            blame: its process died by itself, perhaps because of its work.
        """
        self._workers.pop(worker, None)
        self._lost.add(worker)
        self._in_flight.pop(worker, None)
        self._heard.pop(worker, None)
        self._asked.pop(worker, None)
        for answer in self._requests.pop(worker, ()):
            _answer(answer, None)
        self._handle(WorkerLost(worker, blame))

    async def note(self, texts: Sequence[str]) -> None:
        """Take a worker's warning to the user."""
        self._notes += texts

    async def progress(self) -> State:
        """Return the state of this scheduler."""
        self._start_tasks()
        scheduler, now = self._scheduler, time.monotonic()
        notes, self._notes = tuple(self._notes), []
        return State(
            counters=scheduler.counters,
            useful=scheduler.useful_workers(self._plan.evaluations_per_batch),
            idle=tuple(
                worker
                for worker in scheduler.idle_workers()
                if now - self._heard.get(worker, now) > IDLE_SECONDS
            ),
            overdue=tuple(worker for worker in self._workers if self._is_overdue(worker, now)),
            finished=scheduler.finished and not self._buffer.n_rows,
            n_unwritten=self._buffer.n_rows,
            write_error=self._write_error,
            notes=notes,
        )

    async def drain(self) -> Counters:
        """Return once the rows and the state of undecided images are written.

        Raises:
            OSError: the output does not take it.
        """
        while await self._write(everything=True):
            pass
        if not self._scheduler.finished:
            await self._save()
        return self._scheduler.counters

    def _handle(self, event: Event) -> None:
        decisions: list[Decision] = []
        for instruction in self._observer.handle(event):
            match instruction:
                case Assign(worker, micro_batch):
                    if not self._in_flight[worker]:
                        self._heard[worker] = time.monotonic()
                    self._in_flight[worker].append(micro_batch.id)
                    _answer(self._requests[worker].popleft(), micro_batch)
                case Release(worker):
                    _answer(self._requests[worker].popleft(), None)
                case Decide(decision):
                    decisions.append(decision)
        self._buffer.add(decisions)
        if self._buffer.is_full:
            self._room.clear()

    def _is_overdue(self, worker: str, now: float) -> bool:
        """Return whether a worker's first micro-batch takes far longer than expected."""
        if not self._in_flight[worker]:
            return False
        patience = self._plan.config.cluster.hang_seconds
        expected = self._scheduler.expected_seconds(worker, self._in_flight[worker][0])
        # The first may compile the network, or load a library.
        allowed = _FIRST_FACTOR * patience if expected is None else _SLOW_FACTOR * expected
        return now - self._heard[worker] > max(patience, allowed)

    # ---- apart from the answers: a slow or failing store is no worker's fault

    def _start_tasks(self) -> None:
        if not self._tasks:
            for job in (self._keep_writing(), self._keep_saving(), self._keep_measuring()):
                self._tasks.add(asyncio.get_running_loop().create_task(job))

    async def _keep_writing(self) -> None:
        while True:
            wrote = False
            try:
                wrote = await self._write(everything=self._scheduler.finished)
            except Exception as error:  # noqa: BLE001 - of any filesystem; the driver stops the run
                self._write_error = last_line(error)
            if not wrote:
                await asyncio.sleep(_TICK_SECONDS)

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(self._plan.config.output.checkpoint_seconds)
            try:
                await self._save()
            except Exception as error:  # noqa: BLE001 - likewise
                self._write_error = last_line(error)

    async def _keep_measuring(self) -> None:
        while True:
            self._metrics.update(
                self._scheduler.counters,
                queue_depth=self._scheduler.n_queued,
                open_images=self._scheduler.n_open,
                images_left=self._scheduler.n_open + self._scheduler.n_unopened,
                workers=len(self._workers),
                unwritten_rows=self._buffer.n_rows,
            )
            await asyncio.sleep(_TICK_SECONDS * 10)

    async def _write(self, everything: bool) -> bool:
        """Write one part, if one is due; returns whether one was."""
        async with self._writing:
            part = self._buffer.due(everything)
            if part is None:
                return False
            await self._ask_sink("write", part)
            self._buffer.written(part)
        if not self._buffer.is_full:
            self._room.set()
        return True

    async def _save(self) -> None:
        checkpoint = self._plan.checkpoint(self._scheduler, self._shard)
        content = await asyncio.to_thread(checkpoint.to_bytes)
        await self._ask_sink("checkpoint", content)

    async def _ask_sink(self, method: str, *arguments: Any) -> None:
        while True:
            try:
                await getattr(self._sink, method).remote(self._shard, self._claim, *arguments)
                return
            except ActorUnavailableError:  # Ray repeats most calls by itself, but not all
                await asyncio.sleep(_TICK_SECONDS)


@ray.remote(num_cpus=0, max_concurrency=10_000, max_restarts=-1, max_task_retries=-1)
class SchedulerActor(SchedulerShell):
    """A `SchedulerShell` as a Ray actor.

    Args:
        shared: references to the plan and the sink, pickled by the driver, which keeps both.
    """

    def __init__(self, shared: bytes, shard: int, n_shards: int) -> None:
        plan, sink = ray.cloudpickle.loads(shared)
        super().__init__(ray.get(plan), sink, shard, n_shards)


def _claim(sink: Any, shard: int) -> Claim:
    """Take over a shard from the process that had it."""
    token = secrets.randbits(31)
    while True:
        claim = Claim(ray.get(sink.last.remote(shard)) + 1, token)
        if ray.get(sink.open.remote(shard, claim)):
            return claim


def _answer(request: asyncio.Future[MicroBatch | None], micro_batch: MicroBatch | None) -> None:
    if not request.done():  # cancelled with its caller, whose loss is on its way
        request.set_result(micro_batch)
