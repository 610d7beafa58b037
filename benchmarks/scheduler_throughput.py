"""What one scheduler carries through Ray: micro-batches/s, against bare actor calls of like size.

    python benchmarks/scheduler_throughput.py [--workers N] [--callers N] [--seconds S] [--json]
    python benchmarks/scheduler_throughput.py --quick

The scheduler actor, its sink and Ray are the real ones. Workers have no model: they take scores
from a table (made_up_scores.py) and answer at once, but claim the time that a GPU of --speed rows/s
would have taken, so that micro-batches and items are as large as with --workers such GPUs. A few
processes, the callers, play all workers. The bare loop is the same callers with as many calls open
to an async actor that only answers: they make and send scores of micro-batches that the scheduler
gave, and get such micro-batches back, so that the two loops differ by what the scheduler does.
Callers share the cores with the actor: on a small machine both rates are those of all together.
--quick is one caller and few workers for a moment: it shows that the program works.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from made_up_scores import WORKLOADS, ScoreTable

from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.data.labels.classes import ClassList
from zsd_ray.data.record_table import RecordTable
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.planning.plan import Plan
from zsd_ray.records.scores import MicroBatch, MicroBatchScores
from zsd_ray.runtime.cluster import cluster
from zsd_ray.runtime.model_worker import IN_FLIGHT
from zsd_ray.runtime.scheduler_actor import SchedulerActor
from zsd_ray.runtime.sink import Sink
from zsd_ray.scheduling.scheduler import WORKERS_PER_SCHEDULER

_SAMPLE_EVERY = 20  # micro-batches


@dataclass
class Tally:
    """What one caller did between the warm-up and the end."""

    calls: int = 0
    items: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    samples: list[MicroBatch] = field(default_factory=list)


@ray.remote(num_cpus=0)
class Caller:
    """Asks an actor as runtime/model_worker.py does."""

    def __init__(self, workload: str, speed: float, batch_size: int, warm_up: float) -> None:
        self._table = ScoreTable(WORKLOADS[workload], seed=0)
        self._speed = speed
        self._batch_size = batch_size
        self._warm_up = warm_up  # seconds

    def ready(self) -> None:
        """Return once the table is made."""

    def pull(self, names: list[str], scheduler: Any, seconds: float) -> Tally:
        """Score from the table for some seconds, or until there is no more work."""

        def ask(name: str, scores: MicroBatchScores | None) -> tuple[str, Any]:
            return name, scheduler.exchange.remote(name, self._batch_size, scores)

        requests = deque(ask(name, None) for _ in range(IN_FLIGHT) for name in names)
        tally = Tally()
        start = time.perf_counter() + self._warm_up
        while (now := time.perf_counter()) < start + seconds:
            name, request = requests.popleft()
            micro_batch = ray.get(request)
            if micro_batch is None:
                break
            requests.append(ask(name, self._score(micro_batch)))
            if now >= start:
                if tally.calls % _SAMPLE_EVERY == 0:
                    tally.samples.append(micro_batch)
                tally.calls += 1
                tally.items += len(micro_batch.items)
                tally.evaluations += micro_batch.n_scores
        tally.seconds = time.perf_counter() - start
        if not tally.calls:
            raise SystemExit("nothing was measured: too few images for the time")
        return tally

    def call(
        self,
        actor: Any,
        names: list[str],
        samples: list[MicroBatch],
        seconds: float,
    ) -> Tally:
        """Do the same with an actor that does nothing; what it answers is not looked at."""
        work = itertools.cycle(samples)

        def ask(name: str) -> tuple[str, Any]:
            scores = self._score(next(work))
            return name, actor.exchange.remote(name, self._batch_size, scores)

        requests = deque(ask(name) for _ in range(IN_FLIGHT) for name in names)
        tally = Tally()
        start = time.perf_counter() + self._warm_up
        while (now := time.perf_counter()) < start + seconds:
            name, request = requests.popleft()
            ray.get(request)
            requests.append(ask(name))
            tally.calls += now >= start
        tally.seconds = time.perf_counter() - start
        return tally

    def _score(self, micro_batch: MicroBatch) -> MicroBatchScores:
        n_rows = -(-micro_batch.n_scores // self._batch_size) * self._batch_size
        return self._table.score(micro_batch, n_rows, n_rows / self._speed)


@ray.remote(num_cpus=0, max_concurrency=10_000)
class Bare:
    """Answers as a scheduler does, and thinks nothing."""

    def __init__(self, answers: list[MicroBatch]) -> None:
        self._answers = itertools.cycle(answers)

    async def exchange(
        self, worker: str, batch_size: int, scores: MicroBatchScores | None
    ) -> MicroBatch | None:
        return next(self._answers)


@contextmanager
def started_scheduler(plan: Plan, names: list[str]) -> Iterator[Any]:
    """The scheduler actor with its sink, as the driver starts them for one shard."""
    kept = ray.put(plan)
    sink: Any = Sink.remote(  # type: ignore[attr-defined]
        plan.output, plan.config.output.raw_scores
    )
    shared = ray.cloudpickle.dumps((kept, sink))
    scheduler: Any = SchedulerActor.remote(shared, 0, 1)  # type: ignore[attr-defined]
    try:
        yield scheduler
        ray.get([scheduler.lose.remote(name, False) for name in names])  # answers what is open
    finally:
        ray.kill(scheduler)
        ray.kill(sink)


def made_up_plan(config: RunConfig, workload: str, n_images: int) -> Plan:
    """A plan whose data set is made up: only the workers would ever read an image."""
    table = ScoreTable(WORKLOADS[workload], seed=0)
    n_classes = WORKLOADS[workload].n_classes
    return replace(
        make_plan(config),
        records=RecordTable(
            *zip(*((r.image_id, r.source, r.label) for r in table.records(n_images)), strict=True)
        ),
        classes=ClassList(tuple(f"class {k}" for k in range(n_classes)), None),
        prompts=[],
        todo=array("i", range(n_images)),
        n_done=0,
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        tree = {
            "data": {"source": "digits"},
            "method": {"weighting": "heuristic", "timesteps": "uniform"},
            "pruning": {"rule": "clark-jaini", "min_scores": 20, "max_scores": 2000},
            "cluster": {"workers": options.workers, "batch_size": options.batch_size},
            "output": {"path": folder},
            "tracking": {"mlflow": "off"},
        }
        config = parse_config(RunConfig, tree)
        plan = made_up_plan(config, options.workload, options.images)
        with cluster(config.cluster, config.model.device):
            callers: list[Any] = [
                Caller.remote(  # type: ignore[attr-defined]
                    options.workload, options.speed, options.batch_size, options.warm_up
                )
                for _ in range(options.callers)
            ]
            ray.get([caller.ready.remote() for caller in callers])
            names = [f"worker-{number}" for number in range(options.workers)]
            shares = [names[number :: options.callers] for number in range(options.callers)]
            seconds = options.seconds
            with started_scheduler(plan, names) as scheduler:
                ours: list[Tally] = ray.get(
                    [
                        c.pull.remote(n, scheduler, seconds)
                        for c, n in zip(callers, shares, strict=True)
                    ]
                )
            samples = [sample for tally in ours for sample in tally.samples]
            bare = Bare.remote(samples)  # type: ignore[attr-defined]
            theirs: list[Tally] = ray.get(
                [
                    caller.call.remote(bare, share, samples, seconds)
                    for caller, share in zip(callers, shares, strict=True)
                ]
            )
    calls = sum(tally.calls / tally.seconds for tally in ours)
    bare_calls = sum(tally.calls / tally.seconds for tally in theirs)
    n_calls = sum(tally.calls for tally in ours)
    return {
        "ratio": round(calls / bare_calls, 3),
        "evaluations_per_second": round(sum(t.evaluations / t.seconds for t in ours)),
        "micro_batches_per_second": round(calls, 1),
        "bare_calls_per_second": round(bare_calls, 1),
        "evaluations_per_micro_batch": round(sum(t.evaluations for t in ours) / n_calls, 1),
        "items_per_micro_batch": round(sum(tally.items for tally in ours) / n_calls, 1),
        "workers": options.workers,
        "callers": options.callers,
        "workload": options.workload,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="cifar10")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=WORKERS_PER_SCHEDULER)
    parser.add_argument("--callers", type=int, default=2, help="processes that play them")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--speed", type=float, default=615.0, help="rows/s that workers claim")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one caller, 8 workers, a moment")
    options = parser.parse_args()
    options.warm_up = 2.0
    if options.quick:
        options.workers, options.callers, options.images = 8, 1, 2_000
        options.seconds, options.warm_up = 0.3, 0.0
    row = measure(options)
    if options.json:
        print(json.dumps(row))
        return
    print(
        f"scheduler   {row['micro_batches_per_second']:10,.0f} micro-batches/s of "
        f"{row['evaluations_per_micro_batch']:,.0f} evaluations in "
        f"{row['items_per_micro_batch']:,.1f} items"
    )
    print(f"            {row['evaluations_per_second']:10,} evaluations/s")
    print(f"bare calls  {row['bare_calls_per_second']:10,.0f} calls/s with the same scores")
    print(f"ratio       {row['ratio']:10.3f}   goal at least 0.5")


if __name__ == "__main__":
    main()
