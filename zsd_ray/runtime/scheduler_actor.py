"""The scheduler actor: translates workers' calls into events, and instructions into answers."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

import ray

from zsd_ray.engine.events import (
    Assign,
    Decide,
    Event,
    Release,
    ScoresArrived,
    WorkerJoined,
    WorkerLost,
    WorkRequested,
)
from zsd_ray.engine.plan import Plan
from zsd_ray.engine.scheduler import Counters
from zsd_ray.spec.records import Decision, MicroBatch, MicroBatchScores


@dataclass(frozen=True)
class State:
    """What the driver asks for; write_error: why the sink could not write, if so."""

    counters: Counters
    n_workers: int
    finished: bool
    write_error: str | None


@ray.remote(num_cpus=0, max_concurrency=10_000)
class SchedulerActor:
    """Holds the pure scheduler. Async: a request without work waits here and blocks nobody."""

    def __init__(self, plan: Plan, sink: Any) -> None:
        self._scheduler = plan.scheduler()
        self._sink = sink
        self._workers: set[str] = set()
        self._lost: set[str] = set()
        self._requests: dict[str, deque[asyncio.Future[MicroBatch | None]]] = defaultdict(deque)
        self._writes: set[asyncio.Task[None]] = set()
        self._write_error: str | None = None

    async def exchange(
        self, worker: str, batch_size: int, scores: MicroBatchScores | None
    ) -> MicroBatch | None:
        """Hand in the scores of a micro-batch (or none, at the start) and wait for the next.

        Returns None when there will be no more work, or none for a worker that was given up.
        """
        if worker in self._lost:
            return None
        if worker not in self._workers:
            self._workers.add(worker)
            self._handle(WorkerJoined(worker, batch_size))
        if scores is not None:
            self._handle(ScoresArrived(worker, scores))
        answer: asyncio.Future[MicroBatch | None] = asyncio.get_running_loop().create_future()
        self._requests[worker].append(answer)
        self._handle(WorkRequested(worker))
        return await answer

    async def lose(self, worker: str) -> None:
        """Take back what a dead worker was sent; should it speak again, it gets no work."""
        self._workers.discard(worker)
        self._lost.add(worker)
        for answer in self._requests.pop(worker, ()):
            _answer(answer, None)
        self._handle(WorkerLost(worker))

    async def progress(self) -> State:
        """Return how far the run is."""
        return State(
            self._scheduler.counters,
            len(self._workers),
            self._scheduler.finished,
            self._write_error,
        )

    async def drain(self) -> Counters:
        """Return once every decision so far is written; raises what the last attempt raised."""
        await asyncio.gather(*self._writes)
        await self._sink.flush.remote()
        return self._scheduler.counters

    def _handle(self, event: Event) -> None:
        decisions: list[Decision] = []
        for instruction in self._scheduler.handle(event):
            match instruction:
                case Assign(worker, micro_batch):
                    _answer(self._requests[worker].popleft(), micro_batch)
                case Release(worker):
                    _answer(self._requests[worker].popleft(), None)
                case Decide(decision):
                    decisions.append(decision)
        if decisions:
            # Beside the answers: a slow or failing sink is no worker's fault.
            write = asyncio.get_running_loop().create_task(self._write(decisions))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)

    async def _write(self, decisions: list[Decision]) -> None:
        try:
            await self._sink.add.remote(decisions)
        except Exception as error:  # noqa: BLE001 - of any filesystem; the driver stops the run
            self._write_error = str(error).strip().split("\n")[-1]


def _answer(request: asyncio.Future[MicroBatch | None], micro_batch: MicroBatch | None) -> None:
    if not request.done():  # cancelled with its caller, whose loss is on its way
        request.set_result(micro_batch)
