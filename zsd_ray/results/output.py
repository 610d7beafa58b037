"""An output folder, local or at any fsspec URL: run.json, Parquet parts, the report.

A part becomes visible under its name only when it is whole: locally it is written under a
temporary name and renamed; an object store shows an object only once its upload is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsd_ray.results.run_file import RunFile
from zsd_ray.results.schema import DECISIONS, SCORES, decisions_table, scores_table
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.records import Decision
from zsd_ray.spec.secrets import redact
from zsd_ray.storage import filesystem

T = TypeVar("T")

GIVEN_UP = ("unreadable", "quarantined")
"""Stop reasons that are not the image's fault: a resumed run tries such an image again."""

_DECIDING = ["image_id", "stop_reason"]
_SCHEMAS = {"decisions": DECISIONS, "scores": SCORES, "traces": SCORES}


@dataclass(frozen=True)
class Output:
    """One run's output. Picklable: each process opens the filesystem for itself.

    Every method that asks a store is patient with it, and raises StoreError in the end.
    """

    path: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.path

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        fs, root = filesystem.open_filesystem(self.path)
        return fs, root.rstrip("/")

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
            fs, root = self._opened
            if not filesystem.is_s3(fs):  # it has no folders, and s3fs would make the bucket
                self._ask(lambda: fs.makedirs(root, exist_ok=True))
            self.write_bytes(".writable", b"")
            self._remove(f"{root}/.writable")
            if self.is_local:
                for leftover in [*Path(root).glob(".*.tmp"), *Path(root).glob("*/.*.tmp")]:
                    leftover.unlink()
            whole = {os.path.basename(path) for path in self._parts("decisions")}
            for path in [*self._parts("scores"), *self._parts("traces")]:
                if os.path.basename(path) not in whole:
                    self._remove(path)
        except Exception as error:  # each filesystem has errors of its own
            raise self._user_error("cannot be written", error) from error

    def read_run(self) -> RunFile | None:
        """Return run.json, or None where there is none.

        Raises:
            UserError: it cannot be read, or is not a run.json of this program.
        """
        try:
            content = self.read_bytes("run.json")
            text = None if content is None else content.decode()
        except Exception as error:  # likewise
            raise self._user_error("cannot be used", error) from error
        if text is None:
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

        A column that a part of an earlier version lacks is null.

        An image has one decision. One that was GIVEN_UP counts only where there is no other; should
        two drivers have worked on one output, the first of the others counts.
        """
        wanted = list(columns or _SCHEMAS[name].names)
        # What tells the rows of one image apart is read in any case.
        read = list(dict.fromkeys(wanted + (_DECIDING if name == "decisions" else [])))
        table = pa.concat_tables([_schema(name, read).empty_table(), *self.read_parts(name, read)])
        return (_one_row_an_image(table) if name == "decisions" else table).select(wanted)

    def read_parts(self, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read part by part, for what memory does not hold at once; every row of an image comes."""
        fs, schema = self._opened[0], _schema(name, columns)
        for path in self._parts(name):
            part = pq.ParquetFile(pa.BufferReader(self._ask(partial(fs.cat_file, path))))
            yield _with_nulls(part, schema)

    def write_checkpoint(self, shard: int, content: bytes) -> None:
        """Replace the checkpoint of one scheduler: what it knows of undecided images."""
        self.write_bytes(f"checkpoints/{shard}.parquet", content)

    def read_checkpoints(self) -> list[bytes]:
        """Return what every scheduler wrote last."""
        fs = self._opened[0]
        return [self._ask(partial(fs.cat_file, path)) for path in self._parts("checkpoints")]

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints: everything is decided."""
        for path in self._parts("checkpoints"):
            self._remove(path)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write one file, whole or not at all."""
        fs, root = self._opened
        path = f"{root}/{name}"
        if not self.is_local:
            self._ask(lambda: fs.pipe_file(path, content))
            return
        folder, base = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{base}.tmp"
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def read_bytes(self, name: str) -> bytes | None:
        """Return the content of one file, or None where there is none."""
        fs, root = self._opened
        try:
            return self._ask(lambda: bytes(fs.cat_file(f"{root}/{name}")))
        except FileNotFoundError:
            return None

    def _remove(self, path: str) -> None:
        # Asked again, it may be gone already.
        with contextlib.suppress(FileNotFoundError):
            self._ask(lambda: self._opened[0].rm_file(path))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the object in one JSON file, or None where there is none.

        Raises:
            UserError: it cannot be read, or is no JSON.
        """
        try:
            content = self.read_bytes(name)
            return None if content is None else dict(json.loads(content))
        except Exception as error:  # each filesystem has errors of its own
            raise self._user_error(f"has a {name} that cannot be used", error) from error

    def part_names(self, name: str) -> list[str]:
        """The names of the parts in one folder, sorted."""
        return [os.path.basename(path) for path in self._parts(name)]

    def _parts(self, name: str) -> list[str]:
        fs, root = self._opened
        found = self._ask(lambda: filesystem.list_folder(fs, f"{root}/{name}"))
        return [path for path in found if path.endswith(".parquet")]

    def _ask(self, call: Callable[[], T]) -> T:
        return filesystem.ask(self.path, call)

    def _user_error(self, what: str, error: Exception) -> UserError:
        shown = f"output.path {redact(self.path)} {what}"
        if isinstance(error, FileNotFoundError) and not self.is_local:
            return UserError(f"{shown}: there is no such bucket; make it, or choose another")
        return filesystem.user_error(shown, error, self.path, "; choose another")

    def _write_part(self, name: str, part: str, table: pa.Table) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        content = buffer.getvalue().to_pybytes()
        self.write_bytes(f"{name}/{part}", content)


def _schema(name: str, columns: Sequence[str]) -> pa.Schema:
    return pa.schema([_SCHEMAS[name].field(column) for column in columns])


def _with_nulls(part: pq.ParquetFile, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, null where an earlier version wrote none."""
    table = part.read(columns=[name for name in schema.names if name in part.schema_arrow.names])
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _one_row_an_image(table: pa.Table) -> pa.Table:
    """The row that counts of each image, in order."""
    given_up = pc.is_in(table["stop_reason"], pa.array(GIVEN_UP)).to_numpy(zero_copy_only=False)
    by_rank = np.argsort(given_up, kind="stable")
    ids = table["image_id"].to_numpy(zero_copy_only=False)[by_rank]
    _, first = np.unique(ids, return_index=True)
    return table if len(first) == len(table) else table.take(np.sort(by_rank[first]))


def part_name() -> str:
    """A name for a new part: in order of time, with a random tail that keeps writers apart."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return f"part-{stamp}-{uuid.uuid4().hex[:8]}.parquet"
