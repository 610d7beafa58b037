"""Image records in columns: compact, and shared by the processes of a machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.records.scores import ImageRecord

_LARGEST = 2**31 - 1


class RecordTable(Sequence[ImageRecord]):
    """Behaves like a list of records, each made on access.

    A record as an object takes ten times the memory. Through Ray's object store the columns
    arrive as shared memory, so a scheduler's own memory does not grow with the data set.

    Args:
        ids: unique.
        labels: as each reader numbers them; None for an image without one.

    Raises:
        UserError: two images have one id, a name is not UTF-8, or a label is not a 31-bit integer.
    """

    def __init__(
        self, ids: Iterable[str], sources: Iterable[str], labels: Iterable[int | None]
    ) -> None:
        self._ids = _texts(ids)
        self._sources = _texts(sources)
        self._labels = self._checked(labels)
        self._groups: pa.DictionaryArray | None = None
        if pc.count_distinct(self._ids).as_py() < len(self._ids):
            twice = next(id_ for id_, n in Counter(self._ids.to_pylist()).items() if n > 1)
            raise UserError(f"two images have the id {twice!r}; give each image one of its own")

    def _checked(self, labels: Iterable[int | None]) -> pa.Int32Array:
        numbers = list(labels)
        try:
            return pa.array(numbers, pa.int32())
        except (pa.ArrowException, OverflowError) as error:
            index, odd = next((i, n) for i, n in enumerate(numbers) if not _is_label(n))
            raise UserError(
                f"{redact(self._sources[index].as_py())} has the label {odd!r:.40}; label numbers "
                f"go up to {_LARGEST}, so write larger ones as text in the data"
            ) from error

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRecord]: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | list[ImageRecord]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return ImageRecord(*(column[index].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[ImageRecord]:
        for start in range(0, len(self), 4096):
            rows = [column[start : start + 4096].to_pylist() for column in self._columns]
            yield from map(ImageRecord, *rows)

    @property
    def _columns(self) -> list[pa.Array]:
        """Return the columns of the fields of a record, in order."""
        own = [self._ids, self._sources, self._labels]
        return own if self._groups is None else [*own, self._groups]

    def relabelled(self, labels: Iterable[int | None]) -> RecordTable:
        """Return the same images with other labels; raises UserError as this class does."""
        table = copy(self)
        table._labels = self._checked(labels)
        return table

    def grouped(self, groups: Sequence[str | None]) -> RecordTable:
        """Return the same images, each with a group; None: without groups."""
        assert len(groups) == len(self)
        table = copy(self)
        table._groups = pa.array(groups, pa.string()).dictionary_encode()
        return table

    def first_with(self, label: int) -> int | None:
        """Return the number of the first image with a label; None if there is none."""
        found = pc.index(self._labels, value=pa.scalar(label, pa.int32())).as_py()
        return None if found < 0 else int(found)

    def count_with(self, label: int) -> int:
        """Return the number of images with a label."""
        return int(pc.sum(pc.equal(self._labels, label)).as_py() or 0)

    def numbers_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each image by its id, -1 if there is none."""
        found = pc.index_in(pa.array(ids, pa.large_string()), value_set=self._ids)
        numbers: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        return numbers

    def labels_of(self, numbers: NDArray[np.int64]) -> pa.Array:
        """Return the labels of some images by number, int32, null if an image has none."""
        return self._labels.take(pa.array(numbers))


def _texts(names: Iterable[str]) -> pa.LargeStringArray:
    listed = list(names)
    try:
        return pa.array(listed, pa.large_string())
    except UnicodeEncodeError as error:
        raise UserError(
            f"a file of the data has a name that is not UTF-8: {redact(error.object)!a}; rename it"
        ) from error


def _is_label(number: int | None) -> bool:
    return number is None or -_LARGEST <= number <= _LARGEST
