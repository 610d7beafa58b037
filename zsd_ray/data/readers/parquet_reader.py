"""Parquet files with a column of encoded images, as in data sets on the Hugging Face hub."""

from __future__ import annotations

import threading
import warnings
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, Any, TypeVar

from PIL import Image

from zsd_ray.data.location import Location
from zsd_ray.data.pictures.decoding import decode
from zsd_ray.data.readers.parquet_file import open_file, rows_of_groups
from zsd_ray.data.readers.parquet_images import ImageColumn, RowGroup, place_of
from zsd_ray.data.readers.parquet_labels import LabelColumn
from zsd_ray.data.readers.shards import Shard, find_shards
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import ImageError, UserError

SUFFIXES = (".parquet",)
_KEPT_ROW_GROUPS = 2
T = TypeVar("T")


class ParquetDataset:
    """One Parquet file, a folder of them, a pattern or a range; local or at any fsspec URL.

    `image_column` is binary or struct<bytes, path>, whose paths are followed as described in
    ImageColumn; `label_column` holds ints or strings, or is None for images without labels. A null
    or negative label is no label. An image's id is FILE:ROW. Listing reads no images; reading one
    reads its row group, of which two are kept.

    Args:
        files: those at `path` to read; None: all.

    Raises:
        UserError: nothing found, not Parquet, a column that is missing or of the wrong type; or
            paths instead of images, the first of which is not found.
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
        self._location = Location.of(path)
        self._images = ImageColumn(image_column)
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
        n_elsewhere = 0
        for file_path, name in files:
            with self._location.user_errors(f"{name} of data.path {shown} as Parquet"):
                look = partial(_look_into, name, self._images, labels)
                n_rows, n_paths, first = self._location.read(file_path, look)
                n_elsewhere += n_paths
                if first is not None:
                    self._check_first(first, file_path)
            start = len(ids)
            for group, n_rows_of_group in enumerate(n_rows):
                self._groups.append((file_path, group))
                self._starts.append(start)
                start += n_rows_of_group
            file_shown = self._location.show(file_path)
            ids += [f"{name}:{row}" for row in range(sum(n_rows))]
            sources += [f"{file_shown}:{row}" for row in range(sum(n_rows))]
        if n_elsewhere:
            warnings.warn(
                f"{n_elsewhere} of {len(ids)} images of data.path {shown} are paths of files and "
                "no bytes; they are read from there, so each worker must find them",
                stacklevel=2,
            )
        numbers, self.label_names = labels.number(len(ids), shown)
        self.records = RecordTable(ids, sources, numbers)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep_nothing()

    def _keep_nothing(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, RowGroup] = OrderedDict()

    def _check_first(self, path: str, file_path: str) -> None:
        """Raise UserError if there are only paths and the first is not found."""
        try:
            there = self._location.size(place_of(path, self._location, file_path)) is not None
        except ImageError:
            there = False
        if not there:
            raise UserError(
                f"{self._location.show(file_path)} holds paths of images and no bytes, and the "
                f"first, {path[:100]!r}, is no file here, below the Parquet file's folder or as an "
                "absolute path of this machine; write the images themselves into the file, or put "
                "them there"
            )

    def column(self, parse: Callable[[IO[bytes]], list[T]], what: str) -> list[T]:
        """Return the results of `parse` on each file, one value per row, in order of the records.

        Raises:
            UserError: as `parse` does, or the files have other rows than before.
        """
        found: list[T] = []
        for path in dict.fromkeys(path for path, _ in self._groups):
            with self._location.user_errors(self._location.show(path)):
                found += self._location.read(path, parse)
        if len(found) != len(self.records):
            raise UserError(
                f"data.path {self._location.shown} holds {len(self.records)} images for "
                f"{len(found)} rows of {what}; the files contradict themselves"
            )
        return found

    def read(self, index: int) -> Image.Image:
        record = self.records[index]
        group = bisect_right(self._starts, index) - 1
        with self._location.image_errors(record.source):
            data, path = self._row_group(group).cell(index - self._starts[group])
        if data is None and path:
            with self._location.image_errors(f"{record.source}: the file {path[:100]!r}"):
                place = place_of(path, self._location, self._groups[group][0])
                data = self._location.read_bytes(place)
        if data is None:
            raise ImageError(f"{record.source}: column {self._images.name!r} is null in this row")
        return decode(data, record.source)

    def _row_group(self, group: int) -> RowGroup:
        """Return the images of one row group. Threads wait for each other, so that none reads
        twice."""
        with self._lock:
            if group not in self._kept:
                file_path, number = self._groups[group]
                read = partial(self._images.read, number=number)
                self._kept[group] = self._location.read(file_path, read)
            self._kept.move_to_end(group)
            while len(self._kept) > _KEPT_ROW_GROUPS:
                self._kept.popitem(last=False)
            return self._kept[group]


def _look_into(
    name: str, images: ImageColumn, labels: LabelColumn, opened: IO[bytes]
) -> tuple[list[int], int, str | None]:
    """Check a file and add its labels.

    Returns:
        The rows of each of its row groups; the number of those with only paths; the first path.
    """
    with open_file(opened) as file:
        images.check(file.schema_arrow, name)
        elsewhere = images.first_path(file)
        labels.read(file, name)  # last: nothing is added twice when the file is read again
        return rows_of_groups(file), *elsewhere
