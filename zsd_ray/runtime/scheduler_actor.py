"""The scheduler actor: translates workers' calls into events, and instructions into answers."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
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


@ray.remote(num_cpus=0, max_concurrency=10_000)
class SchedulerActor:
    """Holds the pure scheduler. Async: a request without work waits here and blocks nobody."""

    def __init__(self, plan: Plan, sink: Any) -> None:
        self._scheduler = plan.scheduler()
        self._sink = sink
        self._workers: set[str] = set()
        self._requests: dict[str, deque[asyncio.Future[MicroBatch | None]]] = defaultdict(deque)
        self._unwritten: list[Any] = []  # the sink's answers that are still out

    async def exchange(
        self, worker: str, batch_size: int, scores: MicroBatchScores | None
    ) -> MicroBatch | None:
        """Hand in the scores of a micro-batch (or none, at the start) and wait for the next.

        Returns None when there will be no more work.
        """
        if worker not in self._workers:
            self._workers.add(worker)
            await self._handle(WorkerJoined(worker, batch_size))
        if scores is not None:
            await self._handle(ScoresArrived(worker, scores))
        answer: asyncio.Future[MicroBatch | None] = asyncio.get_running_loop().create_future()
        self._requests[worker].append(answer)
        await self._handle(WorkRequested(worker))
        return await answer

    async def lose(self, worker: str) -> None:
        """Take back what a dead worker was sent."""
        self._workers.discard(worker)
        await self._handle(WorkerLost(worker))
        for answer in self._requests.pop(worker, ()):
            if not answer.done():
                answer.set_result(None)

    async def progress(self) -> tuple[Counters, int, bool]:
        """Return the counters, the number of workers, and whether every image is decided."""
        return self._scheduler.counters, len(self._workers), self._scheduler.finished

    async def drain(self) -> None:
        """Return once every decision so far is written; raises what the sink raised."""
        answers, self._unwritten = self._unwritten, []
        for answer in answers:
            await answer
        await self._sink.flush.remote()

    async def _handle(self, event: Event) -> None:
        decisions: list[Decision] = []
        for instruction in self._scheduler.handle(event):
            match instruction:
                case Assign(worker, micro_batch):
                    self._requests[worker].popleft().set_result(micro_batch)
                case Release(worker):
                    self._requests[worker].popleft().set_result(None)
                case Decide(decision):
                    decisions.append(decision)
        if decisions:
            self._unwritten.append(self._sink.add.remote(decisions))
            if len(self._unwritten) > 100:
                await self._unwritten.pop(0)
