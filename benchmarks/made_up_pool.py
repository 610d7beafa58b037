"""A small pool of made-up scores as a run's output: what programs about saved runs do with --quick.

The scores are those of made_up_scores.py; the real scheduler, elimination and writer make the rest.
"""

from __future__ import annotations

from typing import Any

from made_up_scores import WORKLOADS, ScoreTable

from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.data.readers.digits import NAMES
from zsd_ray.records.scores import Decision
from zsd_ray.results.output import Output
from zsd_ray.results.run_file import RunFile
from zsd_ray.scheduling.events import (
    Assign,
    Decide,
    Event,
    ScoresArrived,
    WorkerJoined,
    WorkRequested,
)
from zsd_ray.scheduling.scheduler import Scheduler

N_IMAGES, N_DRAWS = 24, 40
_BATCH = 256


def write_pool(path: str, **method: Any) -> str:
    """Write a run that gave N_IMAGES images every draw of ten classes; return its output.path.

    Args:
        method: of the run's configuration; the scores are the same whatever it says.
    """
    tree = {
        "data": {"source": "digits"},
        "prompts": {"classes": list(NAMES)},
        "method": {
            "weighting": "simple",
            "timesteps": "stratified",
            "t_range": [0.02, 0.98],
            **method,
        },
        "pruning": {"rule": "none", "draws": N_DRAWS},
        "output": {"path": path, "raw_scores": True},
        "tracking": {"mlflow": "off"},
    }
    config = parse_config(RunConfig, tree)
    output = Output(path)
    output.prepare()
    output.write_decisions(_decisions(config), raw_scores=True, part="part-0.parquet")
    output.write_run(
        RunFile(
            status="finished",
            config=config.model_dump(mode="json"),
            identity="made up",
            identity_parts={},
            classes=list(NAMES),
            versions={},
            seed=0,
            n_images=N_IMAGES,
        )
    )
    return path


def _decisions(config: RunConfig) -> list[Decision]:
    """What one worker that scores from the table comes to."""
    table = ScoreTable(WORKLOADS["cifar10"], seed=0)
    rule = config.pruning.make(len(NAMES))
    records = table.records(N_IMAGES)
    scheduler = Scheduler(records, range(N_IMAGES), rule, len(NAMES), keep_all_raw=True)
    events: list[Event] = [WorkerJoined("one", _BATCH), WorkRequested("one")]
    decisions = []
    while events:
        for instruction in scheduler.handle(events.pop(0)):
            match instruction:
                case Decide(decision):
                    decisions.append(decision)
                case Assign(_, micro_batch):
                    scores = table.score(micro_batch, micro_batch.n_scores, 0.1)
                    events += [ScoresArrived("one", scores), WorkRequested("one")]
    return decisions
