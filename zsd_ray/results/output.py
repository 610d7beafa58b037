"""An output folder, local or at any fsspec URL: run.json, Parquet parts, the report.

A part becomes visible under its name only when it is complete: locally it is written under a
temporary name and renamed; an object store shows an object only once its upload is complete.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import count
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsd_ray.records.errors import DamagedFile, UserError, WriteError
from zsd_ray.records.redaction import redact
from zsd_ray.records.scores import Decision
from zsd_ray.results import local_file
from zsd_ray.results.rows import part_file
from zsd_ray.results.rows.schema import decisions_table, scores_table
from zsd_ray.results.run_file import RunFile
from zsd_ray.settings.documents import parse_json_object
from zsd_ray.storage.filesystem import is_s3, list_folder
from zsd_ray.storage.store import Store

T = TypeVar("T")

GIVEN_UP = ("unreadable", "quarantined")
"""Stop reasons that are not the image's fault: a resumed run tries such an image again."""

_DECIDING = ["image_id", "stop_reason"]
_PART_FOLDERS = (*part_file.SCHEMAS, "checkpoints")
_FILES = (".json", ".html", ".parquet", ".csv", ".md", ".png", ".safetensors")
"""The endings of all files that commands write into their outputs, and of no folder of theirs."""
_ROOM = 4096  # bytes; totals take about a thousand


@dataclass(frozen=True)
class Output:
    """One run's output. Picklable: each process opens the filesystem for itself.

    Every method that accesses a store retries, and raises StoreError in the end.

    store: for its files; a plain `Store()` suffices for a folder of this machine.
    """

    path: str
    store: Store = field(default_factory=Store, compare=False, repr=False)

    @property
    def is_local(self) -> bool:
        return "://" not in self.path

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        fs, root = self.store.open(self.path)
        return fs, root.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "store": self.store}

    def location(self, name: str) -> str:
        """Return the path or URL of a file in this output, for opening it."""
        return f"{self.path.rstrip('/')}/{name}"

    def shown(self, name: str) -> str:
        """Return the path or URL of a file in this output without passwords, for messages."""
        return redact(self.location(name))

    def prepare(self) -> None:
        """Make the folder, and remove temporary files of writers that were killed long ago.

        Raises:
            UserError: it cannot be written to.
        """
        try:
            fs, root = self._opened
            if not is_s3(fs):  # it has no folders, and s3fs would make the bucket
                self._ask(lambda: fs.makedirs(root, exist_ok=True))
            probe = f".writable-{uuid.uuid4().hex[:8]}"
            self.write_bytes(probe, b"")
            self._remove(f"{root}/{probe}")
            if self.is_local:
                local_file.remove_leftovers(root)
                self._refuse_files_for_folders(root)
                self._refuse_folders_for_files(root)
        except UserError:
            raise
        except Exception as error:  # each filesystem has errors of its own
            raise self._user_error("cannot be written", error) from error

    def _refuse_files_for_folders(self, root: str) -> None:
        """Refuse files in the place of folders, before rows are scored in vain."""
        for name in _PART_FOLDERS:
            if os.path.lexists(f"{root}/{name}") and not os.path.isdir(f"{root}/{name}"):
                raise UserError(
                    f"{self.shown(name)} is no folder, and parts of this output are written there; "
                    "move it away, or choose another output.path"
                )

    def _refuse_folders_for_files(self, root: str) -> None:
        """Refuse folders in the place of files, before everything is scored in vain."""
        for name in sorted(os.listdir(root)):
            if name.endswith(_FILES) and os.path.isdir(f"{root}/{name}"):
                raise self._folder_for_a_file(name)

    def _folder_for_a_file(self, name: str) -> UserError:
        return UserError(
            f"{self.shown(name)} is a folder, and a file of this output is written there; move it "
            "away, or choose another output.path"
        )

    def read_run(self) -> RunFile | None:
        """Return run.json, or None if there is none.

        Raises:
            UserError: it cannot be read, or is not a run.json of this program.
        """
        try:
            content = self.read_bytes("run.json")
        except UserError:
            raise
        except Exception as error:  # likewise
            raise self._user_error("cannot be used", error) from error
        return None if content is None else RunFile.from_json(content, self.shown("run.json"))

    def write_run(self, run: RunFile) -> None:
        """Write run.json; on a full disk, into the space of the existing one."""
        content = run.to_json().encode()
        if run.status == "running":
            content += b" " * _ROOM + b"\n"  # space for its final record
        try:
            self.write_bytes("run.json", content)
        except WriteError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError):
                raise
            local_file.write_over(f"{self._opened[1]}/run.json", content, cause)

    def write_decisions(self, decisions: Sequence[Decision], raw_scores: bool, part: str) -> None:
        """Write one part of rows, and the raw draws that came with them, under one name.

        Draws of traced images go to `traces`, and all to `scores` where `raw_scores` is true.
        They go first: a decision row says that its image is finished.
        """
        if raw_scores:
            self.write_part("scores", part, scores_table(decisions))
        traces = scores_table(decision for decision in decisions if decision.traced)
        if traces.num_rows:
            self.write_part("traces", part, traces)
        self.write_part("decisions", part, decisions_table(decisions))

    def read_table(
        self, name: str, columns: list[str] | None = None, n_classes: int | None = None
    ) -> pa.Table:
        """Read all parts of `decisions`, `scores` or `traces`; an empty table if there are none.

        A column that is missing in a part of an earlier version is null.

        Args:
            n_classes: of the run; class numbers and lists are checked against it.

        Raises:
            DamagedFile: a part is damaged.

        An image has one decision. One that was GIVEN_UP counts only if there is no other; if two
        drivers worked on one output, the first of the others counts.
        """
        wanted = list(columns or part_file.SCHEMAS[name].names)
        # Columns that distinguish the rows of one image are always read.
        read = list(dict.fromkeys(wanted + (_DECIDING if name == "decisions" else [])))
        table = pa.concat_tables(
            [_schema(name, read).empty_table(), *self.read_parts(name, read, n_classes)]
        )
        return (_one_row_an_image(table) if name == "decisions" else table).select(wanted)

    def read_parts(
        self, name: str, columns: Sequence[str], n_classes: int | None = None
    ) -> Iterator[pa.Table]:
        """Read part by part, for tables larger than memory; all rows of an image are returned.

        Raw draws without decisions are left out: their writer was killed.
        """
        parts = self.part_names(name)
        if name in ("scores", "traces"):
            whole = set(self.part_names("decisions"))
            parts = [part for part in parts if part in whole]
        for part in parts:
            try:
                table = self.read_part(name, part, columns, n_classes)
            except FileNotFoundError:
                continue  # another driver has just set it aside
            yield table

    def read_part(
        self,
        name: str,
        part: str,
        columns: Sequence[str] | None = None,
        n_classes: int | None = None,
    ) -> pa.Table:
        """Read one part; raises DamagedFile, or FileNotFoundError."""
        content = self._content(f"{name}/{part}")
        wanted = part_file.SCHEMAS[name].names if columns is None else columns
        return part_file.read(content, name, wanted, self.shown(f"{name}/{part}"), n_classes)

    def write_part(self, name: str, part: str, table: pa.Table) -> None:
        """Write one part, or replace its content."""
        self.write_bytes(f"{name}/{part}", part_file.to_bytes(table))

    def set_aside(self, name: str, ending: str) -> str | None:
        """Rename a file so that no reader uses it; returns its new name, None if it is gone.

        Nothing is deleted: people may want to inspect it. An object is copied, and the copy stays
        if the removal fails.
        """
        fs, root = self._opened
        endings = (f"{ending}-{n}" if n > 1 else ending for n in count(1))
        free = next(e for e in endings if not self._ask(partial(fs.exists, f"{root}/{name}.{e}")))
        try:
            if self.is_local:
                os.replace(f"{root}/{name}", f"{root}/{name}.{free}")
            else:
                self._ask(lambda: fs.cp_file(f"{root}/{name}", f"{root}/{name}.{free}"))
                self._remove(f"{root}/{name}")
        except FileNotFoundError:
            return None  # another driver was faster
        return f"{name}.{free}"

    def write_checkpoint(self, shard: int, content: bytes) -> None:
        """Replace the checkpoint of one scheduler, with its states of undecided images."""
        self.write_bytes(f"checkpoints/{shard}.parquet", content)

    def read_checkpoint(self, part: str) -> bytes:
        """Return the last checkpoint of one scheduler."""
        return self._content(f"checkpoints/{part}")

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints, when everything is decided."""
        for path in self._parts("checkpoints"):
            self._remove(path)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write one file atomically.

        Raises:
            UserError: a folder is at that path, so a retry would not help.
            StoreError: it cannot be written; for a local file, a WriteError.
        """
        fs, root = self._opened
        path = f"{root}/{name}"
        if not self.is_local:
            self._ask(lambda: fs.pipe_file(path, content))
            return
        if os.path.isdir(path):
            raise self._folder_for_a_file(name)
        try:
            local_file.write_whole(path, content)
        except OSError as error:
            why = self.store.reason_of(error, path)
            raise WriteError(f"{self.shown(name)} cannot be written ({why})") from error

    def read_bytes(self, name: str) -> bytes | None:
        """Return the content of one file, or None if there is none."""
        try:
            return self._content(name)
        except FileNotFoundError:
            return None

    def _content(self, name: str) -> bytes:
        fs, root = self._opened
        if self.is_local and (what := local_file.what_is_no_file(f"{root}/{name}")) is not None:
            is_part = name.partition("/")[0] in _PART_FOLDERS
            advice = part_file.ADVICE if is_part else "move it away"
            raise DamagedFile(self.shown(name), f"it is {what}", advice)
        try:
            return self._ask(lambda: bytes(fs.cat_file(f"{root}/{name}")))
        except PermissionError as error:
            raise UserError(
                f"{self.shown(name)} may not be read; change its permissions"
            ) from error

    def remove(self, name: str) -> None:
        """Remove one file."""
        self._remove(f"{self._opened[1]}/{name}")

    def _remove(self, path: str) -> None:
        # On a retry it may be gone already.
        with contextlib.suppress(FileNotFoundError):
            self._ask(lambda: self._opened[0].rm_file(path))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the object in one JSON file, or None if there is none.

        Raises:
            UserError: it cannot be read, or is no JSON object.
        """
        try:
            content = self.read_bytes(name)
        except UserError:
            raise
        except Exception as error:  # each filesystem has errors of its own
            raise self._user_error(f"has a {name} that cannot be used", error) from error
        return None if content is None else parse_json_object(content, self.shown(name))

    def part_names(self, name: str) -> list[str]:
        """Return the names of the parts in one folder, sorted."""
        return [os.path.basename(path) for path in self._parts(name)]

    def _parts(self, name: str) -> list[str]:
        fs, root = self._opened
        found = self._ask(lambda: list_folder(fs, f"{root}/{name}"))
        return [path for path in found if path.endswith(".parquet")]

    def _ask(self, call: Callable[[], T]) -> T:
        return self.store.ask(self.path, call)

    def _user_error(self, what: str, error: Exception) -> UserError:
        shown = f"output.path {redact(self.path)} {what}"
        if isinstance(error, FileNotFoundError) and not self.is_local:
            return UserError(f"{shown}: there is no such bucket; make it, or choose another")
        return self.store.user_error(shown, error, self.path, "; choose another")


def _schema(name: str, columns: Sequence[str]) -> pa.Schema:
    return pa.schema([part_file.SCHEMAS[name].field(column) for column in columns])


def _one_row_an_image(table: pa.Table) -> pa.Table:
    """Return the row that counts for each image, in order."""
    given_up = pc.is_in(table["stop_reason"], pa.array(GIVEN_UP)).to_numpy(zero_copy_only=False)
    by_rank = np.argsort(given_up, kind="stable")
    ids = table["image_id"].to_numpy(zero_copy_only=False)[by_rank]
    _, first = np.unique(ids, return_index=True)
    return table if len(first) == len(table) else table.take(np.sort(by_rank[first]))


def part_name() -> str:
    """Return a name for a new part; its random suffix keeps writers apart, whatever their clocks.

    The time is for people. Nothing depends on the order of parts: two equally valid rows of an
    image were decided from the same draws.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return f"part-{stamp}-{uuid.uuid4().hex[:8]}.parquet"
