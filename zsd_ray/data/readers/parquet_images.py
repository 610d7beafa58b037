"""The image column of Parquet files: encoded images, or paths of image files."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from zsd_ray.data.location import Location
from zsd_ray.data.readers.arrow_kinds import is_bytes, is_text
from zsd_ray.data.readers.parquet_file import open_file
from zsd_ray.records.errors import ImageError, UserError
from zsd_ray.storage.inside import is_inside


@dataclass(frozen=True)
class RowGroup:
    """The image cells of one row group: bytes, and paths if the column has any."""

    encoded: pa.ChunkedArray
    paths: pa.ChunkedArray | None

    def cell(self, row: int) -> tuple[bytes | None, str | None]:
        """Return a cell; raises IndexError if the group has fewer rows than its file declares."""
        path = None if self.paths is None else self.paths[row].as_py()
        return self.encoded[row].as_py(), path


class ImageColumn:
    """A column of binary or struct<bytes, path>, as Hugging Face's `datasets` writes.

    If bytes are null, the path locates the image: below the folder of the Parquet file or, for a
        local one, an absolute path. Other paths, or those to another store, are not followed: the
        file may be untrusted.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, schema: pa.Schema, file: str) -> None:
        """Raise UserError if there is no such column, or it holds no images."""
        if self.name not in schema.names:
            raise UserError(
                f"data.image_column {self.name!r} is no column of {file}; it has: "
                f"{', '.join(schema.names)}"
            )
        kind = schema.field(self.name).type
        encoded = _field(kind, "bytes") if pa.types.is_struct(kind) else kind
        only_paths = _has_paths(kind) and pa.types.is_null(encoded)
        if not (only_paths or is_bytes(encoded)):
            raise UserError(
                f"data.image_column {self.name!r} of {file} is {kind!s:.80}; an image column holds "
                "encoded images, as binary or struct<bytes, path>"
            )

    def first_path(self, file: pq.ParquetFile) -> tuple[int, str | None]:
        """Return the number of rows in row groups with only paths, and the first such path."""
        if not _has_paths(file.schema_arrow.field(self.name).type):
            return 0, None
        n_rows, first = 0, None
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            if not group.num_rows or not self._is_without_bytes(group):
                continue
            n_rows += group.num_rows
            if first is None:
                paths = file.read_row_group(number, columns=[f"{self.name}.path"])
                cells = (cell["path"] for cell in paths.column(self.name).to_pylist() if cell)
                first = next(filter(None, cells), None)
        return (n_rows, first) if first is not None else (0, None)

    def _is_without_bytes(self, group: pq.RowGroupMetaData) -> bool:
        """Whether a row group has only paths, by its statistics; without them, images are checked
        when read."""
        for number in range(group.num_columns):
            column = group.column(number)
            if column.path_in_schema == f"{self.name}.bytes":
                known = column.is_stats_set and column.statistics.has_null_count
                return bool(known and column.statistics.null_count == group.num_rows)
        return False

    def read(self, opened: IO[bytes], number: int) -> RowGroup:
        """Read only this column of one row group."""
        with open_file(opened) as file:
            kind = file.schema_arrow.field(self.name).type
            if not pa.types.is_struct(kind):
                return RowGroup(file.read_row_group(number, columns=[self.name])[self.name], None)
            fields = ["bytes", "path"] if _has_paths(kind) else ["bytes"]
            leaves = [f"{self.name}.{field}" for field in fields]
            cells = file.read_row_group(number, columns=leaves)[self.name]
            # A null struct has no fields of its own: `flatten` makes these null too.
            parts = dict(zip((f.name for f in cells.type), cells.flatten(), strict=True))
            return RowGroup(parts["bytes"], parts.get("path"))


def place_of(path: str, location: Location, file_path: str) -> str:
    """Return the location of a path in the Parquet file at `file_path`; raises ImageError if not
    below it."""
    if is_inside(path):
        return posixpath.join(posixpath.dirname(file_path), path)
    if path.startswith("/") and "\0" not in path and location.is_local:
        return path
    raise ImageError(
        "it is not followed: it must lie below the folder of the Parquet file, or be an absolute "
        "path of this machine"
    )


def _field(kind: pa.StructType, name: str) -> pa.DataType:
    index = kind.get_field_index(name)
    return kind.field(index).type if index >= 0 else pa.struct([])


def _has_paths(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and is_text(_field(kind, "path"))
