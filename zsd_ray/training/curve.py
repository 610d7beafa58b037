"""OUTPUT/loss.parquet: the loss of every step, over the whole batch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from zsd_ray.training.task import Stage

CURVE = pa.schema(
    [("stage", pa.string()), ("step", pa.int32()), ("epoch", pa.int32()), ("loss", pa.float32())]
)
"""step and epoch count from 1 in each stage; epoch is null where there are none."""


def curve_bytes(stages: Sequence[Stage], losses: Mapping[str, Sequence[float]]) -> bytes:
    """Return the curve as the content of a Parquet file."""
    rows = [
        {"stage": stage.name, "step": step + 1, "epoch": stage.epoch(step), "loss": loss}
        for stage in stages
        for step, loss in enumerate(losses.get(stage.name, ()))
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=CURVE), buffer, compression="zstd")
    return buffer.getvalue()
