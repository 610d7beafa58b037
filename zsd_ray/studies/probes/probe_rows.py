"""OUTPUT/probes.parquet: the accuracy of each probe of each cell, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PROBES = pa.schema(
    [
        ("checkpoint", pa.string()),
        ("epoch", pa.int64()),  # null where the checkpoint's name says none
        ("t", pa.float64()),
        ("block", pa.string()),
        ("pooling", pa.string()),
        ("probe", pa.string()),  # linear or knn
        ("setting", pa.string()),
        ("n_features", pa.int64()),
        ("n_train", pa.int64()),
        ("n_test", pa.int64()),
        ("validation", pa.float64()),  # accuracy on the held-out part of the training images
        ("top1", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("top_k", pa.float64()),
        ("converged", pa.bool_()),
    ]
)

Row = dict[str, Any]


def to_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), PROBES), buffer, compression="zstd")
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def checked_rows(rows: Any) -> list[Row]:
    """Rows as they were read back from JSON; raises ValueError where they are none."""
    names = set(PROBES.names)
    if not isinstance(rows, list) or not rows:
        raise ValueError("it holds no list of rows")
    for row in rows:
        if not isinstance(row, dict) or not names <= set(row):
            raise ValueError("a row lacks a column")
        if any(row[name] is None for name in names - {"epoch"}):
            raise ValueError("a row lacks a value")
    try:
        pa.Table.from_pylist(rows, PROBES)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())[:160]) from error
    return rows


def best_of(rows: Sequence[Row], probe: str) -> list[Row]:
    """The rows of one kind of probe, best first by what the held-out training images say.

    By these and not by the test images: the best of many by its own test is better than it is.
    Rows that are alike there keep their order.
    """
    return sorted((row for row in rows if row["probe"] == probe), key=lambda r: -r["validation"])
