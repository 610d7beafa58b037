"""The columns of OUTPUT/decisions and OUTPUT/scores; docs/reference/outputs.md explains each."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from zsd_ray.records.scores import Decision

DECISIONS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        ("source", pa.string()),
        ("label", pa.int32()),
        ("group", pa.string()),
        ("prediction", pa.int32()),
        ("uncorrected", pa.int32()),
        ("correct", pa.bool_()),
        ("top5", pa.list_(pa.int32())),
        ("mean_scores", pa.list_(pa.float64())),
        ("gaps", pa.list_(pa.float32())),
        ("gap_errors", pa.list_(pa.float32())),
        ("draws_per_class", pa.list_(pa.int32())),
        ("n_draws", pa.int32()),
        ("n_candidates", pa.int32()),
        ("n_screen_evaluations", pa.int64()),
        ("n_evaluations", pa.int64()),
        ("n_spent", pa.int64()),
        ("stop_reason", pa.string()),
        ("error", pa.string()),
        ("worker", pa.string()),
        ("seconds", pa.float64()),
    ]
)

SCORES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        ("draw", pa.int32()),
        ("t", pa.float64()),
        ("alpha", pa.float64()),
        ("sigma", pa.float64()),
        ("weight", pa.float64()),
        ("classes", pa.list_(pa.int32())),
        ("eps_error", pa.list_(pa.float32())),
    ]
)


def decisions_table(decisions: Iterable[Decision]) -> pa.Table:
    """Return decisions as a table, one row per image."""
    rows = [{name: getattr(decision, name) for name in DECISIONS.names} for decision in decisions]
    return pa.Table.from_pylist(rows, schema=DECISIONS)


def scores_table(decisions: Iterable[Decision]) -> pa.Table:
    """Return raw draws as a table, one row per draw of each image that kept them."""
    rows = [
        {"image_id": decision.image_id}
        | {name: getattr(raw, name) for name in SCORES.names if name != "image_id"}
        for decision in decisions
        for raw in decision.raw
    ]
    return pa.Table.from_pylist(rows, schema=SCORES)
