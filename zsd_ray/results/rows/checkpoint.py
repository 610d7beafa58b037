"""Checkpoints of undecided images, from which a restarted scheduler resumes.

A checkpoint holds elimination states, so a restart loses only the scores since then, not the open
images. It is Parquet like everything here; nothing in it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsd_ray.records.draw_table import Draws
from zsd_ray.records.errors import DamagedFile
from zsd_ray.records.scores import ImageState
from zsd_ray.results.rows import part_file
from zsd_ray.settings.documents import parse_json_object

_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("n_draws", pa.int32()),
        ("survivors", pa.list_(pa.int32())),
        ("draws", pa.list_(pa.int32())),
        ("errors", pa.list_(pa.float32())),
        ("table", pa.list_(pa.float64())),
        ("removed", pa.list_(pa.float32())),
        ("n_spent", pa.int64()),
        ("seconds", pa.float64()),
        ("n_counted", pa.int64()),
    ]
)
_COUNTERS = ("n_scored", "n_rows", "n_micro_batches", "n_retries")


@dataclass(frozen=True)
class Checkpoint:
    """States of undecided images, and the name and the counters of the scheduler that wrote it.

    identity: of its run; "" in those of an earlier version.
    """

    states: Sequence[ImageState]
    writer: str
    counters: Mapping[str, int]
    identity: str = ""

    def to_bytes(self) -> bytes:
        """Return the checkpoint as one Parquet file."""
        own = [name for name in _SCHEMA.names if name != "table"]
        columns = {name: [getattr(s, name) for s in self.states] for name in own}
        columns["errors"] = [errors.ravel() for errors in columns["errors"]]
        columns["table"] = [state.drawn.table.ravel() for state in self.states]
        about = json.dumps(
            {
                "writer": self.writer,
                "counters": dict(self.counters),
                "identity": self.identity,
            }
        )
        table = pa.table(columns, schema=_SCHEMA.with_metadata({"zsd_ray": about}))
        return part_file.to_bytes(table)

    @classmethod
    def read(cls, content: bytes, shown: str, identity: str, n_classes: int) -> Checkpoint:
        """Read a checkpoint from a file that may be damaged in any way.

        Args:
            shown: the file's name in messages.
            identity, n_classes: of the run that is to resume from it.

        Raises:
            DamagedFile: it is no checkpoint of that run.
        """
        try:
            found = cls.from_bytes(content)
            if found.identity not in ("", identity):
                raise ValueError("it is of another run")
            missing = [name for name in _COUNTERS if found.counters.get(name, -1) < 0]
            if missing:
                raise ValueError(f"its metadata has no counter {missing[0]}")
            for state in found.states:
                _check(state, n_classes)
        except Exception as error:  # pyarrow has many; the content is in memory, so it is that
            advice = "the command that made this output sets it aside and scores its images again"
            raise DamagedFile.of(error, shown, advice) from error
        return found

    @classmethod
    def from_bytes(cls, content: bytes) -> Checkpoint:
        """Parse the content of a file; raises pyarrow's errors if it is no checkpoint."""
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read()
        about = parse_json_object((table.schema.metadata or {})[b"zsd_ray"], "its metadata")
        if "n_counted" not in table.column_names:  # of a version in which workers did not count
            table = table.append_column("n_counted", pa.array([0] * table.num_rows, pa.int64()))
        table = table.select(_SCHEMA.names).cast(_SCHEMA)
        table.validate(full=True)
        columns = [table[name] for name in _SCHEMA.names]
        states = [_state(*(column[row] for column in columns)) for row in range(table.num_rows)]
        counters = {str(name): int(value) for name, value in about["counters"].items()}
        return cls(states, str(about["writer"]), counters, str(about.get("identity", "")))


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
        draws=array("draws"),
        errors=array("errors").reshape(-1, len(survivors)),
        drawn=Draws(table.reshape(-1, 4)),
        removed=array("removed"),
        n_spent=value["n_spent"].as_py(),
        seconds=value["seconds"].as_py(),
        n_counted=value["n_counted"].as_py(),
    )


def _check(state: ImageState, n_classes: int) -> None:
    """Raise ValueError if this cannot be a scheduler's state of an image."""

    def demand(holds: bool | np.bool_, what: str) -> None:
        if not holds:
            raise ValueError(f"{what} of image {state.image_id!r}")

    numbers = (state.n_draws, state.n_spent, state.seconds, state.n_counted)
    demand(state.image_id is not None, "the id")
    demand(None not in numbers and min(numbers) >= 0, "the counts")
    survivors, draws = state.survivors, state.draws
    n_known, n_left = state.errors.shape
    demand(len(draws) == n_classes, f"draws of {len(draws)} classes instead of {n_classes}")
    demand(n_left and survivors.min() >= 0 and survivors.max() < n_classes, "the survivors")
    demand((np.diff(survivors) > 0).all(), "the order of the survivors")
    demand(len(state.drawn) == n_known >= state.n_draws, "the table of draws")
    demand(np.isfinite(state.drawn.table[: state.n_draws]).all(), "the table of draws")
    demand(draws.min() >= 0 and draws.max() <= state.n_draws, "the draws")
    demand((draws[survivors] == state.n_draws).all(), "the draws of the survivors")
    demand(np.isfinite(state.errors[: state.n_draws]).all(), "the errors of the survivors")
    gone = draws.copy()
    gone[survivors] = 0
    demand(len(state.removed) == gone.sum(), "the errors of the removed classes")
