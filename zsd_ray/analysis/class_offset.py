"""The class offset of a run: from images that it scores for all classes before it decides.

They are the first of the run's own images (those of `data.limit`), as a run of their own at
OUTPUT/class-offset, which any command can look at. Nothing is fitted to a label, and an image's own
scores never enter the offset that it is decided with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from zsd_ray.analysis.reweight import reweighted
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.analysis.saved_scores import SavedScores, read_scores
from zsd_ray.engine.plan import Plan, make_plan
from zsd_ray.results.offset_file import OffsetRecord, write_offset
from zsd_ray.spec.config import RunConfig
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.method import DiffusionClassifierMethod
from zsd_ray.spec.pruning import NoPruning
from zsd_ray.stats.class_offset import LEAST_IMAGES, SCALE_DRAWS, ClassOffset, class_deviations

_FOLDER = "class-offset"


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
    stage = make_plan(config)
    if not stage.nothing_to_do:
        run(stage)
    saved = open_run(config.output.path)
    offset = offset_of(saved, read_scores(saved), method)
    evaluations = saved.record.totals["n_evaluations"]
    write_offset(plan.output, OffsetRecord.of(offset, plan.classes.names, evaluations))
    return replace(plan, offset=offset)


def offset_of(run: SavedRun, scores: SavedScores, method: DiffusionClassifierMethod) -> ClassOffset:
    """The offset that the saved scores of a run give under the weighting of `method`.

    Raises:
        UserError: too few images have every draw of all classes.
    """
    weight = reweighted(scores, run.config.draw_method, method)
    found = {}
    for number, image_id in enumerate(scores.image_ids):
        errors = scores.errors_of(number)
        if len(errors) >= SCALE_DRAWS and np.isfinite(errors).all():
            found[image_id] = class_deviations(weight[scores.rows(number), None] * errors)
    if len(found) < LEAST_IMAGES:
        raise UserError(
            f"{run.name} has {len(found)} images whose {SCALE_DRAWS} draws or more were scored for "
            f"all classes, and a class offset needs {LEAST_IMAGES}; run it with pruning: "
            "{rule: none} and output.raw_scores: true"
        )
    ids = sorted(found)
    return ClassOffset(tuple(ids), np.stack([found[image_id] for image_id in ids]))


def own_offset(run: SavedRun, method: DiffusionClassifierMethod) -> ClassOffset | None:
    """What a saved run took out of its scores, under the weighting of `method`; None: nothing."""
    if run.config.draw_method.class_offset is None:
        return None
    stage = open_run(run.output.location(_FOLDER))
    return offset_of(stage, read_scores(stage), method)


def _config(config: RunConfig, method: DiffusionClassifierMethod) -> RunConfig:
    """The run that measures the offset of a planned run."""
    assert method.class_offset is not None
    n_images, n_draws = method.class_offset.images, method.class_offset.draws
    output = f"{config.output.path.rstrip('/')}/{_FOLDER}"
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
