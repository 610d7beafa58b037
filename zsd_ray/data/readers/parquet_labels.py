"""The label column of Parquet files: ints, bools or strings in, label numbers and names out."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from zsd_ray.data.labels.label_names import number_labels, or_no_label
from zsd_ray.data.readers.arrow_kinds import is_text, is_whole_number, plain
from zsd_ray.records.errors import UserError
from zsd_ray.settings.documents import is_utf8, parse_json


class LabelColumn:
    """Gathers one column over all files of a data set; `column` None means no labels."""

    def __init__(self, column: str | None) -> None:
        self._column = column
        self._values: list[int | str | None] = []
        self._type: type | None = None
        self._class_label: list[str] | None = None

    def read(self, file: pq.ParquetFile, name: str) -> None:
        """Add one file, reading only this column; adds nothing if that fails.

        Raises:
            UserError: the column is missing, of another type than the files before, or neither
                ints nor strings.
        """
        if self._column is None:
            return
        schema = file.schema_arrow
        if self._column not in schema.names:
            raise UserError(
                f"data.label_column {self._column!r} is no column of {name}; it has: "
                f"{', '.join(schema.names)} (or set it to null for images without labels)"
            )
        kind = plain(schema.field(self._column).type)
        if pa.types.is_null(kind):
            self._values += [None] * file.metadata.num_rows
            return
        if not (is_text(kind) or is_whole_number(kind)):
            raise UserError(
                f"data.label_column {self._column!r} of {name} is {kind!s:.80}; labels are ints or "
                "strings"
            )
        value_type = str if is_text(kind) else int
        if self._type not in (None, value_type):
            raise UserError(
                f"data.label_column {self._column!r} is {kind} in {name} and another type in the "
                "files before it; choose files of one data set"
            )
        values = file.read(columns=[self._column]).column(self._column).to_pylist()
        if len(values) != file.metadata.num_rows:
            raise ValueError(f"it claims {file.metadata.num_rows} rows, and has {len(values)}")
        self._type = value_type
        self._values += [or_no_label(value) for value in values]
        names = _class_label(schema, self._column)
        if names and self._class_label and names != self._class_label:
            raise UserError(
                f"{name} names the labels of {self._column!r} differently from the files before "
                "it; choose files of one data set"
            )
        self._class_label = names or self._class_label

    def number(self, n_images: int, shown: str) -> tuple[list[int | None], Sequence[str] | None]:
        """Return each image's label and the labels' names; None if they are bare numbers.

        Raises:
            UserError: a number has no name in the schema.
        """
        if self._column is None:
            return [None] * n_images, None
        if self._type is str:
            texts = number_labels(value for value in self._values if isinstance(value, str))
            number_of = {text: number for number, text in enumerate(texts)}
            labels = [None if value is None else number_of[str(value)] for value in self._values]
            return labels, texts or None
        numbers = [int(v) if isinstance(v, int) and v >= 0 else None for v in self._values]
        names = self._class_label
        largest = max((number for number in numbers if number is not None), default=-1)
        if names is not None and largest >= len(names):
            raise UserError(
                f"data.label_column {self._column!r} of {shown} holds {largest}, but its "
                f"ClassLabel metadata names only 0 to {len(names) - 1}; the file contradicts itself"
            )
        return numbers, names


def _class_label(schema: pa.Schema, column: str) -> list[str] | None:
    """Return the names that Hugging Face's `datasets` stores with a ClassLabel column."""
    written = (schema.metadata or {}).get(b"huggingface")
    if written is None:
        return None
    try:
        names = parse_json(written, "the huggingface metadata")["info"]["features"][column]["names"]
    except (UserError, LookupError, TypeError):
        return None  # another layout of this metadata, or another type of column
    if not isinstance(names, list) or not names:
        return None
    if not all(isinstance(name, str | int) and is_utf8(str(name)) for name in names):
        raise ValueError(f"its metadata names the labels of {column!r} by something else than text")
    return [str(name) for name in names]
