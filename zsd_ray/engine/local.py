"""The local shell: the whole of a run in this process, without Ray."""

from __future__ import annotations

from collections.abc import Callable

from zsd_ray.engine.events import Assign, Decide, Event, ScoresArrived, WorkerJoined, WorkRequested
from zsd_ray.engine.plan import Plan
from zsd_ray.engine.scheduler import Counters
from zsd_ray.engine.worker import Scorer
from zsd_ray.models.registry import load_model
from zsd_ray.results.decision_writer import DecisionWriter

_WORKER = "local"


def run_local(plan: Plan, on_progress: Callable[[Counters, int], None]) -> Counters:
    """Decide every image of `plan.todo`, and write the rows; what is decided is always written.

    Args:
        on_progress: called after each micro-batch with the counters and the number of workers.
    """
    config = plan.config
    scheduler = plan.scheduler()
    if scheduler.finished:
        return scheduler.counters
    denoiser = load_model(config.model)
    scorer = Scorer(
        denoiser,
        plan.dataset,
        denoiser.encode_prompts(plan.prompts),
        plan.n_templates,
        config.method,
        config.seed,
        config.cluster.batch_size,
    )
    writer = DecisionWriter(plan.output, config.output.raw_scores, config.output.flush_seconds)
    events: list[Event] = [WorkerJoined(_WORKER, scorer.batch_size), WorkRequested(_WORKER)]
    try:
        while events:
            instructions = scheduler.handle(events.pop(0))
            for instruction in instructions:
                match instruction:
                    case Decide(decision):
                        writer.add([decision])
                    case Assign(_, micro_batch):
                        scores = scorer.score(micro_batch)
                        events += [ScoresArrived(_WORKER, scores), WorkRequested(_WORKER)]
            on_progress(scheduler.counters, 1)
    finally:
        writer.flush()
    assert scheduler.finished
    return scheduler.counters
