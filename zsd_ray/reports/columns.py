"""Saved rows, arranged for the report: decisions by outcome, and the draws of single images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MAX_TRACES = 6


@dataclass(frozen=True)
class Outcomes:
    """The rows of a decisions table by outcome, each table by image id.

    decided: with a prediction; labelled: decided ones with a label; wrong: labelled ones whose
        prediction is another class; failed: with an error.
    """

    decided: pa.Table
    labelled: pa.Table
    wrong: pa.Table
    failed: pa.Table

    @classmethod
    def of(cls, decisions: pa.Table) -> Outcomes:
        # Columns with an entry a class are gigabytes at ImageNet's size: copied only where used.
        rows = decisions.drop_columns("mean_scores").sort_by("image_id")
        decided = rows.filter(pc.is_valid(rows["prediction"]))
        labelled = decided.drop_columns("draws_per_class").filter(pc.is_valid(decided["label"]))
        wrong = labelled.filter(pc.not_equal(labelled["label"], labelled["prediction"]))
        return cls(decided, labelled, wrong, rows.filter(pc.is_valid(rows["error"])))

    @property
    def n_done(self) -> int:
        return int(self.decided.num_rows + self.failed.num_rows)

    @property
    def labels(self) -> NDArray[np.int64]:
        return integers(self.labelled, "label")

    @property
    def predictions(self) -> NDArray[np.int64]:
        return integers(self.labelled, "prediction")

    @property
    def draws_per_class(self) -> list[NDArray[np.int64]]:
        """Return one (K,) array per decided image, of which there is at least one."""
        column = self.decided["draws_per_class"]
        ends = np.cumsum(pc.list_value_length(column).to_numpy())
        return np.split(pc.list_flatten(column).to_numpy().astype(np.int64), ends[:-1])

    @property
    def screen_evaluations(self) -> NDArray[np.int64]:
        """Return a screen's evaluations of the run's model, for each decided image."""
        taken: NDArray[np.int64] = pc.fill_null(self.decided["n_screen_evaluations"], 0).to_numpy()
        return taken

    @property
    def one_left(self) -> NDArray[np.bool_]:
        """Return which decided images stopped because one class was left."""
        return np.asarray(self.decided["stop_reason"].to_numpy() == "one-class-left")


def integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """Return an integer column without nulls."""
    values: NDArray[np.int64] = table[name].to_numpy().astype(np.int64)
    return values


def choose_traces(outcomes: Outcomes, draws: pa.Table) -> list[tuple[str, str]]:
    """Return up to six images with saved draws, as (reason, image id): wrong, long and easy in
    turn.

    Images with a single draw are left out, as they have no curve.
    """
    kept = pc.is_in(outcomes.decided["image_id"], value_set=pc.unique(draws["image_id"]))
    several = pc.greater(outcomes.decided["n_draws"], 1)
    table = outcomes.decided.filter(pc.and_(kept, several))
    ids = table["image_id"].to_pylist()
    wrong = set(outcomes.wrong["image_id"].to_pylist())
    quick = [ids[i] for i in np.argsort(integers(table, "n_draws"), kind="stable")]
    queues = {
        "wrong": [image_id for image_id in quick[::-1] if image_id in wrong],
        "many draws": quick[::-1],
        "few draws": [image_id for image_id in quick if image_id not in wrong],
    }
    chosen: dict[str, str] = {}
    while len(chosen) < min(MAX_TRACES, len(ids)):
        for why, queue in queues.items():
            image_id = next((i for i in queue if i not in chosen), None)
            if image_id is not None and len(chosen) < MAX_TRACES:
                chosen[image_id] = why
    return [(why, i) for why in queues for i, reason in chosen.items() if reason == why]


def running_means(draws: pa.Table) -> NDArray[np.float64]:
    """Return each class's mean score after 1 .. n draws of one image, nan once eliminated: (n,
    K)."""
    # A run that was killed may have saved an image's draws twice; they are the same draws.
    rows = list({row["draw"]: row for row in draws.sort_by("draw").to_pylist()}.values())
    scores = np.full((len(rows), 1 + max(max(row["classes"]) for row in rows)), np.nan)
    for score, row in zip(scores, rows, strict=True):
        score[row["classes"]] = row["weight"] * np.asarray(row["eps_error"])
    means: NDArray[np.float64] = np.cumsum(scores, axis=0) / np.arange(1, len(rows) + 1)[:, None]
    return means
