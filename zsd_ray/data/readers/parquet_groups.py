"""The group column of Parquet files: groups of images whose accuracies are reported separately."""

from __future__ import annotations

from typing import IO

from zsd_ray.data.readers.arrow_kinds import is_text, is_whole_number, plain
from zsd_ray.data.readers.parquet_file import open_file
from zsd_ray.records.errors import UserError


def read_groups(column: str, opened: IO[bytes]) -> list[str | None]:
    """Return the name of the group of each row of one file; a number is its own name.

    Raises:
        UserError: the column is missing, or neither ints nor strings.
    """
    with open_file(opened) as file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise UserError(
                f"data.group_column {column!r} is no column; there are: {', '.join(schema.names)}"
            )
        kind = plain(schema.field(column).type)
        if not (is_text(kind) or is_whole_number(kind)):
            raise UserError(
                f"data.group_column {column!r} is {kind!s:.80}; groups are ints or strings"
            )
        values = file.read(columns=[column]).column(column).to_pylist()
        return [None if value is None else str(value) for value in values]
