"""The figures of a run, from its decision rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsd_ray.stats.class_accuracy import class_accuracy
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.label_ranks import IntArray, per_class_accuracy
from zsd_ray.stats.worst import Worst, worst_accuracy

_NAMED = 5  # classes that a row names, best first


def run_metrics(decisions: pa.Table) -> dict[str, Any]:
    """Sum up rows of OUTPUT/decisions.

    Accuracy is over labelled images that have a prediction; an image with an error counts in
    `errors` and nowhere else. Class accuracy is the mean of each class's, over the classes that
    have such images: `labelled_classes`. Evaluations per image are all those of this model, also
    in a screen. Figures without any image are None. Those of a screen, of groups, of a class offset
    and of the best five are left out if there is no screen, no group, no offset and no more than
    five classes.
    """
    errors = pc.sum(pc.is_valid(decisions["error"])).as_py() or 0
    labelled = len(decisions) - decisions["correct"].null_count
    correct = pc.sum(decisions["correct"]).as_py() or 0
    scored = len(decisions) - errors
    n_evaluations = pc.sum(decisions["n_evaluations"]).as_py() or 0
    screened = _screen_metrics(decisions)
    of_all = n_evaluations + screened.get("n_screen_evaluations", 0)
    return {
        "images": len(decisions),
        "errors": errors,
        "labelled": labelled,
        "correct": correct,
        **_share("accuracy", correct, labelled),
        **_uncorrected_metrics(decisions),
        **_top5_metrics(decisions),
        **_class_metrics(decisions),
        **_group_metrics(decisions),
        "n_evaluations": n_evaluations,
        "n_spent": pc.sum(decisions["n_spent"]).as_py() or 0,
        "evaluations_per_image": of_all / scored if scored else None,
    } | screened


def per_class_csv(decisions: pa.Table, classes: Sequence[str]) -> str:
    """Return one CSV line per class: images, right ones, accuracy and its Wilson 95% interval."""
    labels, right = _labels_and_correct(decisions)
    counts, successes = per_class_accuracy(labels, right, len(classes))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["class", "name", "images", "correct", "accuracy", "low", "high"])
    for number, (name, n, k) in enumerate(
        zip(classes, counts.tolist(), successes.tolist(), strict=True)
    ):
        shares = [f"{share:.4f}" for share in (k / n, *wilson(k, n))] if n else ["", "", ""]
        lines.writerow([number, name, n, k, *shares])
    return text.getvalue()


def _share(name: str, successes: int, trials: int) -> dict[str, float | None]:
    low, high = wilson(successes, trials) if trials else (None, None)
    return {
        name: successes / trials if trials else None,
        f"{name}_low": low,
        f"{name}_high": high,
    }


def _labels_and_correct(decisions: pa.Table) -> tuple[IntArray, Any]:
    """Return label and correctness of images with label and prediction: (N,) and (N,) bool."""
    rows = decisions.select(["label", "correct"])  # the other columns hold gigabytes
    rows = rows.filter(pc.is_valid(rows["correct"]))
    return rows["label"].to_numpy().astype(np.int64), rows["correct"].to_numpy()


def _uncorrected_metrics(decisions: pa.Table) -> dict[str, Any]:
    """Return the metrics of the same draws without the class offset, if there is one."""
    if "uncorrected" not in decisions.column_names:
        return {}
    known = pc.and_(pc.is_valid(decisions["uncorrected"]), pc.is_valid(decisions["label"]))
    rows = decisions.select(["label", "uncorrected"]).filter(known)
    if not len(rows):
        return {}
    right = pc.sum(pc.equal(rows["label"], rows["uncorrected"])).as_py() or 0
    return _share("uncorrected_accuracy", right, len(rows))


def _top5_metrics(decisions: pa.Table) -> dict[str, Any]:
    if not {"top5", "draws_per_class"} <= set(decisions.column_names):
        return {}
    rows = decisions.select(["label", "correct", "top5", "draws_per_class"])
    rows = rows.filter(pc.is_valid(rows["correct"]))
    n_classes = pc.max(pc.list_value_length(rows["draws_per_class"])).as_py() or 0
    if n_classes <= _NAMED:  # all are always named
        return {}
    named = rows["top5"].combine_chunks()
    own = np.repeat(rows["label"].to_numpy(), pc.list_value_length(named).to_numpy())
    return _share("top5_accuracy", int((named.flatten().to_numpy() == own).sum()), len(rows))


def _class_metrics(decisions: pa.Table) -> dict[str, Any]:
    labels, correct = _labels_and_correct(decisions)
    n_classes = int(labels.max()) + 1 if len(labels) else 0
    counts = per_class_accuracy(labels, correct, n_classes)
    found = class_accuracy(*counts)
    known = found.value is not None
    return {
        "labelled_classes": found.n_classes,
        "class_accuracy": found.value,
        "class_accuracy_low": found.interval.low if known else None,
        "class_accuracy_high": found.interval.high if known else None,
        **_worst("class", worst_accuracy(*counts)),
    }


def _group_metrics(decisions: pa.Table) -> dict[str, Any]:
    if "group" not in decisions.column_names:
        return {}
    rows = decisions.select(["group", "correct"])
    rows = rows.filter(pc.and_(pc.is_valid(rows["group"]), pc.is_valid(rows["correct"])))
    groups, numbers = np.unique(
        np.asarray(rows["group"].to_pylist(), dtype=str), return_inverse=True
    )
    found = worst_accuracy(*per_class_accuracy(numbers, rows["correct"].to_numpy(), len(groups)))
    if found is None:
        return {}
    name = str(groups[found.number])
    return _worst("group", found) | {"groups": found.n_seen, "worst_group": name}


def _worst(of: str, found: Worst | None) -> dict[str, Any]:
    return {
        f"worst_{of}": found and found.number,
        f"worst_{of}_accuracy": found and found.value,
        f"worst_{of}_accuracy_low": found and found.interval.low,
        f"worst_{of}_accuracy_high": found and found.interval.high,
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
