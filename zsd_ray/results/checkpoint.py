"""Checkpoints of undecided images: what a scheduler that is started again goes on from.

A checkpoint holds elimination states, so a restart costs what was scored since, and not the
images that were open. It is Parquet like everything here; nothing in it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsd_ray.spec.records import ImageState

_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("n_draws", pa.int32()),
        ("survivors", pa.list_(pa.int32())),
        ("waiting", pa.list_(pa.int32())),
        ("draws", pa.list_(pa.int32())),
        ("errors", pa.list_(pa.float32())),
        ("table", pa.list_(pa.float64())),
        ("removed", pa.list_(pa.float32())),
        ("n_spent", pa.int64()),
        ("seconds", pa.float64()),
        ("n_counted", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Checkpoint:
    """States of undecided images, and the name and the counters of the scheduler that wrote it."""

    states: Sequence[ImageState]
    writer: str
    counters: Mapping[str, int]

    def to_bytes(self) -> bytes:
        """As one Parquet file."""
        columns = {name: [getattr(s, name) for s in self.states] for name in _SCHEMA.names}
        for name in ("errors", "table"):
            columns[name] = [array.ravel() for array in columns[name]]
        about = json.dumps({"writer": self.writer, "counters": dict(self.counters)})
        table = pa.table(columns, schema=_SCHEMA.with_metadata({"zsd_ray": about}))
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        content: bytes = buffer.getvalue().to_pybytes()
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> Checkpoint:
        """The inverse; raises what pyarrow raises where it is no such file."""
        table = pq.read_table(pa.BufferReader(content))
        about = json.loads(table.schema.metadata[b"zsd_ray"])
        if "n_counted" not in table.column_names:  # of a version in which workers did not count
            table = table.append_column("n_counted", pa.array([0] * table.num_rows, pa.int64()))
        columns = [table[name] for name in _SCHEMA.names]
        states = [_state(*(column[row] for column in columns)) for row in range(table.num_rows)]
        return cls(states, about["writer"], about["counters"])


def _state(*cells: pa.Scalar) -> ImageState:
    value = dict(zip(_SCHEMA.names, cells, strict=True))

    def array(name: str) -> NDArray[Any]:
        copied: NDArray[Any] = value[name].values.to_numpy(zero_copy_only=False).copy()
        return copied

    survivors, table = array("survivors"), array("table")
    return ImageState(
        image_id=value["image_id"].as_py(),
        n_draws=value["n_draws"].as_py(),
        survivors=survivors,
        waiting=array("waiting"),
        draws=array("draws"),
        errors=array("errors").reshape(-1, len(survivors)),
        table=table.reshape(-1, 4),
        removed=array("removed"),
        n_spent=value["n_spent"].as_py(),
        seconds=value["seconds"].as_py(),
        n_counted=value["n_counted"].as_py(),
    )
