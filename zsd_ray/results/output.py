"""An output folder, local or at any fsspec URL: run.json, Parquet parts, the report.

A part becomes visible under its name only when it is whole: locally it is written under a
temporary name and renamed; an object store shows an object only once its upload is complete.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsd_ray.results.run_file import RunFile
from zsd_ray.results.schema import DECISIONS, SCORES, decisions_table, scores_table
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.records import Decision
from zsd_ray.spec.secrets import redact

_SCHEMAS = {"decisions": DECISIONS, "scores": SCORES, "traces": SCORES}


@dataclass(frozen=True)
class Output:
    """One run's output. Picklable: each process opens the filesystem for itself."""

    path: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.path

    @cached_property
    def _fs(self) -> Any:
        return fsspec.core.url_to_fs(self.path)[0]

    @cached_property
    def _root(self) -> str:
        root: str = fsspec.core.url_to_fs(self.path)[1]
        return root.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def location(self, name: str) -> str:
        """The path or URL of something in this output, as people would open it."""
        return f"{self.path.rstrip('/')}/{name}"

    def prepare(self) -> None:
        """Make the folder, and remove what a killed writer left without its decisions.

        Raises:
            UserError: it cannot be written to.
        """
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            self.write_bytes(".writable", b"")
            self._fs.rm(f"{self._root}/.writable")
            if self.is_local:
                for leftover in Path(self._root).glob("*/.*.tmp"):
                    leftover.unlink()
            whole = {os.path.basename(path) for path in self._parts("decisions")}
            for path in [*self._parts("scores"), *self._parts("traces")]:
                if os.path.basename(path) not in whole:
                    self._fs.rm(path)
        except OSError as error:
            raise UserError(
                f"output.path {redact(self.path)} cannot be written ({error}); choose another"
            ) from error

    def read_run(self) -> RunFile | None:
        """Return run.json, or None where there is none.

        Raises:
            UserError: it cannot be read, or is not a run.json of this program.
        """
        try:
            text = self._fs.cat_file(f"{self._root}/run.json").decode()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ImportError) as error:
            reason = redact(" ".join(str(error).split()))
            raise UserError(
                f"output.path {redact(self.path)} cannot be used ({reason}); choose another"
            ) from error
        try:
            return RunFile.from_json(text)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self.location('run.json')} is not a run record ({error}); choose another "
                "output.path"
            ) from error

    def write_run(self, run: RunFile) -> None:
        self.write_bytes("run.json", run.to_json().encode())

    def write_decisions(self, decisions: Sequence[Decision], raw_scores: bool, part: str) -> None:
        """Write one part of rows, and the raw draws that came with them, under one name.

        Draws of traced images go to `traces`, and all to `scores` where `raw_scores` is true.
        They go first: a decision row says that its image is finished.
        """
        if raw_scores:
            self._write_part("scores", part, scores_table(decisions))
        traces = scores_table(decision for decision in decisions if decision.traced)
        if traces.num_rows:
            self._write_part("traces", part, traces)
        self._write_part("decisions", part, decisions_table(decisions))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read every part of `decisions`, `scores` or `traces`; no parts give an empty table.

        An image has one decision: should two drivers have worked on one output, the first counts.
        """
        schema = _SCHEMAS[name]
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])
        tables = []
        for path in self._parts(name):
            with self._fs.open(path, "rb") as file:
                tables.append(pq.read_table(file, columns=columns).cast(schema))
        table = pa.concat_tables(tables) if tables else schema.empty_table()
        return _first_rows(table) if name == "decisions" else table

    def _parts(self, name: str) -> list[str]:
        return sorted(self._fs.glob(f"{self._root}/{name}/*.parquet"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write one file, whole or not at all."""
        path = f"{self._root}/{name}"
        if not self.is_local:
            self._fs.pipe_file(path, content)
            return
        folder, base = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{base}.tmp"
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def _write_part(self, name: str, part: str, table: pa.Table) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        content = buffer.getvalue().to_pybytes()
        self.write_bytes(f"{name}/{part}", content)


def _first_rows(table: pa.Table) -> pa.Table:
    """The first row of each image, in order."""
    ids = table["image_id"].to_numpy(zero_copy_only=False)
    _, first = np.unique(ids, return_index=True)
    return table if len(first) == len(table) else table.take(np.sort(first))


def part_name() -> str:
    """A name for a new part: in order of time, with a random tail that keeps writers apart."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return f"part-{stamp}-{uuid.uuid4().hex[:8]}.parquet"
