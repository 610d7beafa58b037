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
import pyarrow as pa
import pyarrow.parquet as pq

from zsd_ray.results.run_file import RunFile
from zsd_ray.results.schema import DECISIONS, SCORES, decisions_table, scores_table
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.records import Decision

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
        """Make the folder, and remove what a killed writer left half written.

        Raises:
            UserError: it cannot be written to.
        """
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            if self.is_local:
                for leftover in Path(self._root).glob("*/.*.tmp"):
                    leftover.unlink()
            self.write_bytes(".writable", b"")
            self._fs.rm(f"{self._root}/.writable")
        except OSError as error:
            raise UserError(
                f"output.path {self.path} cannot be written ({error}); choose another"
            ) from error

    def read_run(self) -> RunFile | None:
        """Return run.json, or None where there is none.

        Raises:
            UserError: the file is there and is not a run.json of this program.
        """
        try:
            text = self._fs.cat_file(f"{self._root}/run.json").decode()
        except FileNotFoundError:
            return None
        try:
            return RunFile.from_json(text)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self.location('run.json')} is not a run record ({error}); choose another "
                "output.path"
            ) from error

    def write_run(self, run: RunFile) -> None:
        self.write_bytes("run.json", run.to_json().encode())

    def write_decisions(self, decisions: Sequence[Decision], raw_scores: bool) -> None:
        """Write one part of rows, and the raw draws that came with them.

        Draws of traced images go to `traces`, and all to `scores` where `raw_scores` is true.
        They go first: a decision row says that its image is finished.
        """
        if raw_scores:
            self._write_part("scores", scores_table(decisions))
        traces = scores_table(decision for decision in decisions if decision.traced)
        if traces.num_rows:
            self._write_part("traces", traces)
        self._write_part("decisions", decisions_table(decisions))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read every part of `decisions`, `scores` or `traces`; no parts give an empty table."""
        schema = _SCHEMAS[name]
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])
        paths = sorted(self._fs.glob(f"{self._root}/{name}/*.parquet"))
        tables = []
        for path in paths:
            with self._fs.open(path, "rb") as file:
                tables.append(pq.read_table(file, columns=columns).cast(schema))
        return pa.concat_tables(tables) if tables else schema.empty_table()

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

    def _write_part(self, name: str, table: pa.Table) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        content = buffer.getvalue().to_pybytes()
        # In order of writing for people and readers; the random tail keeps two writers apart.
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        self.write_bytes(f"{name}/part-{stamp}-{uuid.uuid4().hex[:8]}.parquet", content)
