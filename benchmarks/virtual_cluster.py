"""A cluster in virtual time around the real engine: workers, nodes that are lost, and a scheduler
that is a queue with one server, as slow as the engine's code really is on this machine.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from made_up_scores import ScoreTable
from virtual_setting import CLOCKS, Setting

from zsd_ray.records.scores import MicroBatch
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
from zsd_ray.scheduling.scheduler import Scheduler

IN_FLIGHT = 2  # as runtime/model_worker.py
_STALLED_SECONDS = 6 * 3600.0
_MEMORY_EVERY = 1000  # messages


@dataclass(slots=True, eq=False)
class _Worker:
    name: str
    speed: float
    shard: _Shard
    joined: float
    left: float = float("inf")
    queue: deque[MicroBatch] = field(default_factory=deque)
    started: float = 0.0  # of the rows that it computes now
    ends: float = 0.0
    busy: float = 0.0  # on rows, before `started`
    encoded: set[int] = field(default_factory=set)

    def busy_until(self, now: float) -> float:
        now = min(now, self.left)
        return self.busy + max(0.0, min(now, self.ends) - self.started)


@dataclass(slots=True, eq=False)
class _Shard:
    """One scheduler as a server: what comes while it works waits."""

    scheduler: Scheduler
    known: set[str] = field(default_factory=set)
    free_at: float = 0.0
    busy: float = 0.0
    engine_seconds: float = 0.0

    def busy_until(self, now: float) -> float:
        return self.busy - max(0.0, self.free_at - now)


@dataclass(frozen=True)
class Moment:
    """Totals from the start of the run to `seconds`."""

    seconds: float
    busy_gpu_seconds: float
    alive_gpu_seconds: float
    scheduler_load: float  # of the busiest shard
    messages: int
    micro_batches: int
    engine_seconds: float


class Cluster:
    """One run. After `run`, `at_99` and `at_end` hold its totals, None where it stalled."""

    def __init__(self, setting: Setting, table: ScoreTable) -> None:
        self.setting = setting
        self._table = table
        self._random = random.Random(setting.seed)  # noqa: S311 - a simulation
        self._clock = CLOCKS[setting.clock]
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._ids = itertools.count()
        self._now = 0.0
        self._progressed = 0.0
        self._workers: list[_Worker] = []
        self._messages = self._micro_batches = 0
        self.decided = self.errors = self.losses = 0
        self.peak_memory_bytes = 0
        self.at_99: Moment | None = None
        self.at_end: Moment | None = None
        gc.collect()
        self._base_memory = _resident_bytes()
        records = table.records(setting.images)
        self._shards = [
            _Shard(
                Scheduler(
                    records,
                    range(index, setting.images, setting.shards),
                    setting.workload.rule(),
                    setting.workload.n_classes,
                )
            )
            for index in range(setting.shards)
        ]

    @property
    def schedulers(self) -> list[Scheduler]:
        return [shard.scheduler for shard in self._shards]

    def run(self) -> Iterator[float]:
        """Yield the virtual time now and then, until the last image is decided."""
        for first in range(0, self.setting.gpus, self.setting.gpus_per_node):
            n_gpus = min(self.setting.gpus_per_node, self.setting.gpus - first)
            self._at(self._random.uniform(0.0, 0.2), self._node_starts, n_gpus)
        for number in itertools.count():
            if self.at_end is not None or self._now > self._progressed + _STALLED_SECONDS:
                return
            self._now, _, happen, arguments = heapq.heappop(self._heap)
            happen(*arguments)
            if number % 5000 == 0:
                yield self._now

    def _at(self, when: float, happen: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._heap, (when, next(self._ids), happen, arguments))

    def _latency(self) -> float:
        return self.setting.latency + self._random.expovariate(1 / self.setting.latency)

    # ---- nodes and workers

    def _node_starts(self, n_gpus: int) -> None:
        setting = self.setting
        slow = self._random.random() < setting.slow_share
        speed = setting.speed * (setting.slow_speed if slow else 1.0)
        workers = []
        for _ in range(n_gpus):
            number = len(self._workers)
            own = speed * self._random.lognormvariate(0.0, setting.speed_spread)
            shard = self._shards[number % len(self._shards)]
            worker = _Worker(f"worker-{number}", own, shard, self._now)
            workers.append(worker)
            self._workers.append(worker)
            self._join(worker)
        life = self._random.expovariate(1 / setting.node_seconds)
        self._at(self._now + life, self._node_ends, workers)

    def _node_ends(self, workers: list[_Worker]) -> None:
        self.losses += 1
        for worker in workers:
            worker.left = self._now
            worker.queue.clear()
            self._at(self._now + self.setting.found_after, self._lose, worker)
        back = self._now + self._random.uniform(*self.setting.back_after)
        self._at(back, self._node_starts, len(workers))

    def _join(self, worker: _Worker) -> None:
        """Ask for the first micro-batches of the worker's shard, or of the next that has work."""
        start = self._shards.index(worker.shard)
        for shard in self._shards[start:] + self._shards[:start]:
            if not shard.scheduler.finished:
                worker.shard = shard
                for _ in range(IN_FLIGHT):
                    self._at(self._now + self._latency(), self._exchange, worker, None, 0.0)
                return

    def _receive(self, worker: _Worker, micro_batch: MicroBatch) -> None:
        if self._now < worker.left:
            worker.queue.append(micro_batch)
            if self._now >= worker.ends:
                self._compute(worker)

    def _compute(self, worker: _Worker) -> None:
        setting = self.setting
        micro_batch = worker.queue.popleft()
        images = {item.image for item in micro_batch.items} - worker.encoded
        worker.encoded |= images
        n_rows = -(-micro_batch.n_scores // setting.batch_size) * setting.batch_size
        seconds = n_rows / worker.speed * max(0.5, self._random.gauss(1.0, setting.time_noise))
        if self._random.random() < setting.straggler_share:
            seconds *= self._random.uniform(3.0, 8.0)
        worker.busy += worker.ends - worker.started
        worker.started = self._now + len(images) * setting.encode_rows / worker.speed
        worker.ends = worker.started + seconds
        took = worker.ends - self._now
        self._at(worker.ends, self._computed, worker, micro_batch, n_rows, took)

    def _computed(self, worker: _Worker, micro_batch: MicroBatch, n_rows: int, took: float) -> None:
        if self._now >= worker.left:
            return
        arrives = self._now + self._latency()
        self._at(arrives, self._exchange, worker, micro_batch, took, n_rows)
        if worker.queue:
            self._compute(worker)

    # ---- the scheduler's side

    def _exchange(
        self, worker: _Worker, micro_batch: MicroBatch | None, took: float, n_rows: int = 0
    ) -> None:
        """One call: hand in scores, or none, and ask for more."""
        events: list[Event] = []
        if worker.name not in worker.shard.known:
            worker.shard.known.add(worker.name)
            events.append(WorkerJoined(worker.name, self.setting.batch_size))
        if micro_batch is not None:
            scores = self._table.score(micro_batch, n_rows, took)
            events.append(ScoresArrived(worker.name, scores))
            self._micro_batches += 1
            self._progressed = self._now
        events.append(WorkRequested(worker.name))
        self._serve(worker.shard, events)

    def _lose(self, worker: _Worker) -> None:
        self._serve(worker.shard, [WorkerLost(worker.name)])

    def _serve(self, shard: _Shard, events: list[Event]) -> None:
        begin = self._clock()
        answers = [answer for event in events for answer in shard.scheduler.handle(event)]
        engine = self._clock() - begin
        service = engine + self.setting.message_seconds
        shard.engine_seconds += engine
        shard.busy += service
        shard.free_at = max(self._now, shard.free_at) + service
        self._messages += 1
        if self._messages % _MEMORY_EVERY == 1:
            used = _resident_bytes() - self._base_memory
            self.peak_memory_bytes = max(self.peak_memory_bytes, used)
        for answer in answers:
            match answer:
                case Assign(name, micro_batch):
                    when = shard.free_at + self._latency()
                    self._at(when, self._receive, self._named(name), micro_batch)
                case Release(name):
                    self._at(shard.free_at + self._latency(), self._released, self._named(name))
                case Decide(decision):
                    self._decide(decision.error is not None, shard.free_at)

    def _named(self, name: str) -> _Worker:
        return self._workers[int(name.removeprefix("worker-"))]

    def _released(self, worker: _Worker) -> None:
        """Each open request is answered so; the first one moves the worker on."""
        if self._now < worker.left and worker.shard.scheduler.finished:
            self._join(worker)

    def _decide(self, failed: bool, when: float) -> None:
        self.decided += 1
        self.errors += failed
        if self.decided == -(-self.setting.images * 99 // 100):
            self._at(when, self._note, "at_99")
        if self.decided == self.setting.images:
            self._at(when, self._note, "at_end")

    def _note(self, which: str) -> None:
        now = self._now
        alive = [min(now, worker.left) - worker.joined for worker in self._workers]
        moment = Moment(
            seconds=now,
            busy_gpu_seconds=sum(worker.busy_until(now) for worker in self._workers),
            alive_gpu_seconds=sum(alive),
            scheduler_load=max(shard.busy_until(now) for shard in self._shards) / now,
            messages=self._messages,
            micro_batches=self._micro_batches,
            engine_seconds=sum(shard.engine_seconds for shard in self._shards),
        )
        setattr(self, which, moment)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
