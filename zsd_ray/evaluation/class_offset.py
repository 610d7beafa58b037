"""The class offset of a run: from images that it scores for all classes before it decides.

They are the first of the run's own images (those of `data.limit`), as a run of their own at
OUTPUT/class-offset, which any command can look at. Nothing is fitted to a label, and an image's own
scores never enter the offset that it is decided with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from zsd_ray.analysis.class_offset import OFFSET_FOLDER, offset_of
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.saved_scores import read_scores
from zsd_ray.config.method import DiffusionClassifierMethod
from zsd_ray.config.run import RunConfig
from zsd_ray.planning.inputs import Inputs
from zsd_ray.planning.plan import Plan, make_plan
from zsd_ray.results.offset_file import OffsetRecord, write_offset
from zsd_ray.rules.every_draw import NoPruning


def with_class_offset(plan: Plan, run: Callable[[Plan], object]) -> Plan:
    """Return the plan with its class offset, where its method has one.

    Args:
        run: called with the plan of the run that measures it, where that is not done.

    Raises:
        UserError: too few of its images could be scored.
    """
    method = plan.config.method
    if not isinstance(method, DiffusionClassifierMethod) or method.class_offset is None:
        return plan
    config = _config(plan.config, method)
    stage = make_plan(config, Inputs([plan.model]))
    if not stage.nothing_to_do:
        run(stage)
    saved = open_run(config.output.path)
    offset = offset_of(saved, read_scores(saved), method)
    evaluations = saved.record.totals["n_evaluations"]
    write_offset(plan.output, OffsetRecord.of(offset, plan.classes.names, evaluations))
    return replace(plan, offset=offset)


def _config(config: RunConfig, method: DiffusionClassifierMethod) -> RunConfig:
    """The run that measures the offset of a planned run."""
    assert method.class_offset is not None
    n_images, n_draws = method.class_offset.images, method.class_offset.draws
    output = f"{config.output.path.rstrip('/')}/{OFFSET_FOLDER}"
    return config.model_copy(
        update={
            "method": method.model_copy(update={"class_offset": None}),
            "pruning": NoPruning(rule="none", draws=n_draws),
            "data": config.data.model_copy(
                update={"limit": min(n_images, config.data.limit or n_images)}
            ),
            "output": config.output.model_copy(update={"path": output, "raw_scores": True}),
            "tracking": config.tracking.model_copy(update={"mlflow": "off"}),
        }
    )
