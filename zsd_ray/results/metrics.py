"""The figures of a run, from its decision rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from zsd_ray.stats.class_accuracy import class_accuracy
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.metrics import per_class_accuracy


def run_metrics(decisions: pa.Table) -> dict[str, Any]:
    """Sum up rows of OUTPUT/decisions.

    Accuracy is over labelled images that have a prediction; an image with an error counts in
    `errors` and nowhere else. Class accuracy is the mean of each class's, over the classes that
    have such images: `labelled_classes`. Evaluations an image are all that this model took, those
    of a screen too. Figures without any image to stand on are None, and those of a screen are left
    out where there was none.
    """
    errors = pc.sum(pc.is_valid(decisions["error"])).as_py() or 0
    labelled = len(decisions) - decisions["correct"].null_count
    correct = pc.sum(decisions["correct"]).as_py() or 0
    scored = len(decisions) - errors
    n_evaluations = pc.sum(decisions["n_evaluations"]).as_py() or 0
    screened = _screen_metrics(decisions)
    of_all = n_evaluations + screened.get("n_screen_evaluations", 0)
    interval = wilson(correct, labelled)
    return {
        "images": len(decisions),
        "errors": errors,
        "labelled": labelled,
        "correct": correct,
        "accuracy": correct / labelled if labelled else None,
        "accuracy_low": interval.low if labelled else None,
        "accuracy_high": interval.high if labelled else None,
        **_class_metrics(decisions),
        "n_evaluations": n_evaluations,
        "n_spent": pc.sum(decisions["n_spent"]).as_py() or 0,
        "evaluations_per_image": of_all / scored if scored else None,
    } | screened


def _class_metrics(decisions: pa.Table) -> dict[str, Any]:
    rows = decisions.select(["label", "correct"])  # the others hold gigabytes
    labelled = rows.filter(pc.is_valid(rows["correct"]))
    labels = labelled["label"].to_numpy()
    n_classes = int(labels.max()) + 1 if len(labels) else 0
    found = class_accuracy(*per_class_accuracy(labels, labelled["correct"].to_numpy(), n_classes))
    known = found.value is not None
    return {
        "labelled_classes": found.n_classes,
        "class_accuracy": found.value,
        "class_accuracy_low": found.interval.low if known else None,
        "class_accuracy_high": found.interval.high if known else None,
    }


def _screen_metrics(decisions: pa.Table) -> dict[str, Any]:
    candidates = decisions["n_candidates"]
    if candidates.null_count == len(candidates):
        return {}
    return {
        "screened": len(candidates) - candidates.null_count,
        "candidates_per_image": pc.mean(candidates).as_py(),
        "n_screen_evaluations": pc.sum(decisions["n_screen_evaluations"]).as_py() or 0,
    }
