"""A run in its output folder: its record, its configuration, its decisions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.errors import StoreError, UserError
from zsd_ray.records.redaction import reason, redact
from zsd_ray.results.output import Output
from zsd_ray.results.rows.schema import DECISIONS
from zsd_ray.results.run_file import RunFile
from zsd_ray.storage.store import Store


@dataclass(frozen=True)
class SavedRun:
    """A run that has ended or was interrupted, with the images decided so far.

    name: its location, without passwords.
    """

    output: Output
    record: RunFile

    @property
    def name(self) -> str:
        return redact(self.output.path)

    @cached_property
    def config(self) -> RunConfig:
        """Return the configuration, resolved when the run started; raises UserError if of another
        version."""
        where = redact(self.output.location("run.json"))
        return parse_config(RunConfig, self.record.config, where, saved=True)

    def rows(self) -> pa.Table:
        """Read its decisions without the columns that hold a value for each class."""
        numbers = [field.name for field in DECISIONS if not pa.types.is_list(field.type)]
        return self.read("decisions", numbers)

    def read(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """Read `decisions` or `scores`.

        Raises:
            UserError: the store does not answer, or a part is damaged.
        """
        try:
            return self.output.read_table(table, columns, len(self.record.classes))
        except StoreError as error:
            raise UserError(f"{table} of {self.name} cannot be read: {reason(error)}") from error


def open_run(path: str, store: Store | None = None) -> SavedRun:
    """Open the run whose output is at a folder or URL.

    Args:
        store: how it is reached; None: by a plain `Store()`.

    Raises:
        UserError: there is no run, or it cannot be read.
    """
    output = Output(path, store or Store())
    record = output.read_run()
    if record is None:
        raise UserError(
            f"there is no run at {redact(path)} (no run.json); give the output.path of a run"
        )
    return SavedRun(output, record)
