"""The local shell: a whole run in this process, without Ray."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable

from zsd_ray.methods.method import texts
from zsd_ray.planning.observer import Observer
from zsd_ray.planning.plan import Plan
from zsd_ray.results.rows.row_buffer import RowBuffer
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.events import (
    Assign,
    Decide,
    Event,
    ScoresArrived,
    WorkerJoined,
    WorkRequested,
)
from zsd_ray.scheduling.scheduler import Scheduler
from zsd_ray.scoring.make_scorer import make_scorer
from zsd_ray.scoring.model_check import demand

_WORKER = "local"


def run_local(plan: Plan, on_progress: Callable[[Counters, int], None]) -> Counters:
    """Decide every image of `plan.todo` and write the rows, also those decided before an error.

    Args:
        on_progress: called after each micro-batch with the counters and the number of workers.
    """
    config = plan.config
    beginning = plan.beginning()
    scheduler = beginning.scheduler()
    if scheduler.finished:
        return scheduler.counters
    demand(config, plan.model, plan.dataset, plan.prompts, list(plan.todo))
    model = plan.model.load()
    conditioning = plan.model.encode_prompts(texts(plan.prompts, config.method))
    names = plan.classes.names
    scorer = make_scorer(config, plan.size, plan.model, model, plan.dataset, conditioning, names)
    files = _Files(plan, scheduler)
    observer = Observer(scheduler, beginning, f"{plan.session}-local", os.environ, warnings.warn)
    events: list[Event] = [WorkerJoined(_WORKER, scorer.batch_size), WorkRequested(_WORKER)]
    try:
        while events:
            instructions = observer.handle(events.pop(0))
            for instruction in instructions:
                match instruction:
                    case Decide(decision):
                        files.buffer.add([decision])
                    case Assign(_, micro_batch):
                        scores = scorer.score(micro_batch)
                        events += [ScoresArrived(_WORKER, scores), WorkRequested(_WORKER)]
            files.write_due()
            on_progress(scheduler.counters, 1)
    finally:
        observer.close()
        files.close()
    assert scheduler.finished
    return scheduler.counters


class _Files:
    """Writes rows and checkpoints when they are due."""

    def __init__(self, plan: Plan, scheduler: Scheduler) -> None:
        self._plan = plan
        self._scheduler = scheduler
        self._saved = time.monotonic()
        self.buffer = RowBuffer(plan.config.output.flush_seconds)

    def write_due(self, everything: bool = False) -> None:
        while (part := self.buffer.due(everything)) is not None:
            output = self._plan.config.output
            self._plan.output.write_decisions(part.decisions, output.raw_scores, part.name)
            self.buffer.written(part)
        if time.monotonic() - self._saved >= self._plan.config.output.checkpoint_seconds:
            self._save()

    def close(self) -> None:
        """Write all rows, or a checkpoint where images are undecided."""
        self.write_due(everything=True)
        if not self._scheduler.finished:
            self._save()

    def _save(self) -> None:
        self._saved = time.monotonic()
        content = self._plan.checkpoint(self._scheduler).to_bytes()
        self._plan.output.write_checkpoint(0, content)
