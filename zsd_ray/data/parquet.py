"""Parquet files with a column of encoded images, as data sets on the Hugging Face hub have."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from zsd_ray.data.decoding import decode
from zsd_ray.data.location import Location
from zsd_ray.data.parquet_labels import LabelColumn
from zsd_ray.data.record_table import RecordTable
from zsd_ray.data.shards import Shard, find_shards
from zsd_ray.spec.errors import ImageError, UserError

SUFFIXES = (".parquet",)
_KEPT_ROW_GROUPS = 2


class ParquetDataset:
    """One Parquet file, a folder of them, a pattern or a range; local or at any fsspec URL.

    `image_column` is binary or struct<bytes, path>; `label_column` holds ints or strings, or is
    None for images without labels. A null or negative label is no label. An image's id is
    FILE:ROW. Listing reads no images; reading one reads its row group, of which two are kept.

    Args:
        files: which of those at `path` are read; None: all.

    Raises:
        UserError: nothing there, not Parquet, a column that is missing or of the wrong type.
    """

    records: RecordTable
    label_names: Sequence[str] | None

    def __init__(
        self,
        path: str | Location,
        image_column: str,
        label_column: str | None,
        files: Sequence[Shard] | None = None,
    ) -> None:
        self._location = path if isinstance(path, Location) else Location(path)
        self._image_column = image_column
        self._groups: list[tuple[str, int]] = []  # file, and number of the row group in it
        self._starts: list[int] = []  # row group -> number of its first record
        self._keep_nothing()

        shown = self._location.shown
        if files is None:
            with self._location.user_errors(f"data.path {shown}"):
                files = find_shards(self._location, SUFFIXES)
        labels = LabelColumn(label_column)
        ids: list[str] = []
        sources: list[str] = []
        for file_path, name in files:
            with self._location.user_errors(f"{name} of data.path {shown} as Parquet"):
                n_rows = self._location.read(
                    file_path, partial(_look_into, name, image_column, labels)
                )
            start = len(ids)
            for group, n_rows_of_group in enumerate(n_rows):
                self._groups.append((file_path, group))
                self._starts.append(start)
                start += n_rows_of_group
            file_shown = self._location.show(file_path)
            ids += [f"{name}:{row}" for row in range(sum(n_rows))]
            sources += [f"{file_shown}:{row}" for row in range(sum(n_rows))]
        numbers, self.label_names = labels.number(len(ids))
        self.records = RecordTable(ids, sources, numbers)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep_nothing()

    def _keep_nothing(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, pa.ChunkedArray] = OrderedDict()

    def read(self, index: int) -> Image.Image:
        record = self.records[index]
        group = bisect_right(self._starts, index) - 1
        with self._location.image_errors(record.source):
            data = self._encoded(group)[index - self._starts[group]].as_py()
        if data is None:
            raise ImageError(f"{record.source}: column {self._image_column!r} is null in this row")
        return decode(data, record.source)

    def _encoded(self, group: int) -> pa.ChunkedArray:
        """The encoded images of one row group. Threads wait for each other: none reads twice."""
        with self._lock:
            if group not in self._kept:
                self._kept[group] = self._read_row_group(*self._groups[group])
            self._kept.move_to_end(group)
            while len(self._kept) > _KEPT_ROW_GROUPS:
                self._kept.popitem(last=False)
            return self._kept[group]

    def _read_row_group(self, file_path: str, group: int) -> pa.ChunkedArray:
        def read(opened: IO[bytes]) -> pa.ChunkedArray:
            with pq.ParquetFile(opened) as file:
                is_struct = pa.types.is_struct(file.schema_arrow.field(self._image_column).type)
                leaf = f"{self._image_column}.bytes" if is_struct else self._image_column
                column = file.read_row_group(group, columns=[leaf]).column(self._image_column)
                return pc.struct_field(column, "bytes") if is_struct else column

        return self._location.read(file_path, read)


def _look_into(name: str, image_column: str, labels: LabelColumn, opened: IO[bytes]) -> list[int]:
    """Check a file, add its labels, and return how many rows each of its row groups has."""
    with pq.ParquetFile(opened) as file:
        _check_image_column(file.schema_arrow, image_column, name)
        groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        labels.read(file, name)  # last: nothing is added twice when the file is read again
        return [group.num_rows for group in groups]


def _check_image_column(schema: pa.Schema, column: str, file: str) -> None:
    if column not in schema.names:
        raise UserError(
            f"data.image_column {column!r} is no column of {file}; it has: "
            f"{', '.join(schema.names)}"
        )
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UserError(
            f"data.image_column {column!r} of {file} is {schema.field(column).type}; an image "
            "column holds encoded images, as binary or struct<bytes, path>"
        )
