"""The class offset that the saved scores of a run give."""

from __future__ import annotations

import numpy as np

from zsd_ray.analysis.reweight import reweighted
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.analysis.saved_scores import SavedScores, read_scores
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.records.errors import UserError
from zsd_ray.stats.class_offset import LEAST_IMAGES, SCALE_DRAWS, ClassOffset, class_deviations

OFFSET_FOLDER = "class-offset"
"""Where a run keeps what it measured its offset on, below its output."""


def offset_of(run: SavedRun, scores: SavedScores, method: DiffusionClassifierMethod) -> ClassOffset:
    """Return the offset from the saved scores of a run under the weighting of `method`.

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
    """Return the offset that a saved run subtracted, under the weighting of `method`; None:
    none."""
    if run.config.draw_method.class_offset is None:
        return None
    stage = open_run(run.output.location(OFFSET_FOLDER), run.output.store)
    return offset_of(stage, read_scores(stage), method)
