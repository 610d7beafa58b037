"""WebDataset: samples in plain tars, an image with its label beside it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from PIL import Image

from zsd_ray.config.data import DataConfig
from zsd_ray.data.labels.label_names import number_labels
from zsd_ray.data.labels.name_file import parse_names
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.decoding import decode
from zsd_ray.data.readers.shards import Shard, find_shards
from zsd_ray.data.readers.tar_index import Sample, index_tar
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import UserError, some

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")  # all but one refused
_NAMES = "classnames.txt"
_AT_ONCE = 16  # tars; a store answers many requests as fast as one
_DEFAULT_COLUMN = DataConfig.model_fields["label_column"].default

Label = int | str | None


class WebDataset:
    """One .tar, a folder of them, a pattern or a range; local or at any fsspec URL.

    `label_column` is a key of each sample's .json. If no sample has the key "label", the default,
    labels are the numbers in .cls; None: images without labels. A null or negative label is no
    label. Numbers have the names in classnames.txt, one per line, beside the tars or in the folder
    above. An image's id is TAR:KEY. Listing reads headers and labels; reading an image reads only
    its bytes.

    Args:
        tars: those at `path` to read; None: all.

    Attributes:
        has_listed_names: whether `label_names` is from classnames.txt, and not from the labels
            found.

    Raises:
        UserError: nothing found; a tar that is compressed, damaged or holds samples without an
            image; a sample without a label.
    """

    records: RecordTable
    label_names: Sequence[str] | None

    def __init__(
        self,
        path: str | Location,
        label_column: str | None,
        tars: Sequence[Shard] | None = None,
    ) -> None:
        self._location = Location.of(path)
        shown = self._location.shown
        if tars is None:
            with self._location.user_errors(f"data.path {shown}"):
                tars = find_shards(self._location, SUFFIXES)
        self._tars = [tar.path for tar in tars]
        with ThreadPoolExecutor(min(_AT_ONCE, len(tars))) as threads:
            found = list(threads.map(partial(self._index, label_column), tars))
        samples = [(tar, sample) for tar, each in zip(tars, found, strict=True) for sample in each]
        self._tar_of = np.repeat(np.arange(len(tars)), [len(each) for each in found])
        self._places = np.array([sample.image[1:] for _, sample in samples], np.int64)
        labels = _labels(samples, label_column, shown)
        class_names = partial(self._class_names, tars[0].path)
        numbers, self.label_names = _numbered(labels, class_names, shown)
        by_number = not any(isinstance(label, str) for label in labels)
        self.has_listed_names = by_number and self.label_names is not None
        ids = [f"{tar.name}:{sample.key}" for tar, sample in samples]
        sources = (
            f"{self._location.show(tar.path)}:{sample.key}.{sample.image.extension}"
            for tar, sample in samples
        )
        self.records = RecordTable(ids, sources, numbers)

    def read(self, index: int) -> Image.Image:
        source = self.records[index].source
        start, end = self._places[index].tolist()
        with self._location.image_errors(source):
            data = self._location.read_bytes(self._tars[self._tar_of[index]], start, end)
        return decode(data, source)

    def _index(self, label_key: str | None, tar: Shard) -> list[Sample]:
        with self._location.user_errors(f"{tar.name} of data.path {self._location.shown}"):
            return index_tar(self._location, tar.path, label_key)

    def _class_names(self, tar: str) -> list[str] | None:
        folder = posixpath.dirname(tar)
        for place in filter(None, (folder, posixpath.dirname(folder))):
            path = posixpath.join(place, _NAMES)
            shown = self._location.show(path)
            with self._location.user_errors(shown):
                if self._is_there(path):
                    return parse_names(self._location.read_bytes(path).decode("utf-8-sig"), shown)
        return None

    def _is_there(self, path: str) -> bool:
        try:
            return self._location.size(path) is not None
        except PermissionError:  # a store's answer for what is missing, where listing is forbidden
            return False


def _labels(samples: Sequence[tuple[Shard, Sample]], column: str | None, shown: str) -> list[Label]:
    if column is None:
        return [None] * len(samples)
    by_key = any(sample.named for _, sample in samples)
    if not by_key and column != _DEFAULT_COLUMN:
        raise UserError(
            f"data.label_column {column!r} is a key of no sample's .json; name one that is, or "
            f"leave it out for labels in .cls, or null for images without labels"
        )
    bare = [
        f"{tar.name}:{sample.key}"
        for tar, sample in samples
        if not sample.named and (by_key or sample.number is None)
    ]
    if bare:
        wanted = f"key {column!r} in a .json" if by_key else f".cls, nor {column!r} in a .json"
        raise UserError(
            f"data.path {shown}: {len(bare)} of {len(samples)} samples have no {wanted} "
            f"({some(bare)}); give each a label, or set data.label_column to null for images "
            "without labels"
        )
    return [sample.value if by_key else sample.number for _, sample in samples]


def _numbered(
    labels: Sequence[Label], class_names: Callable[[], list[str] | None], shown: str
) -> tuple[list[int | None], Sequence[str] | None]:
    """Return each image's label as a number, and the labels' names; None if they are bare
    numbers."""
    texts = number_labels(label for label in labels if isinstance(label, str))
    numbers = [label for label in labels if isinstance(label, int)]
    if texts and numbers:
        raise UserError(
            f"data.path {shown}: labels are numbers ({numbers[0]}) in some samples and text "
            f"({texts[0]!r}) in others; choose tars of one data set"
        )
    if texts:
        number_of = {text: number for number, text in enumerate(texts)}
        return [None if label is None else number_of[str(label)] for label in labels], texts
    names = class_names() if numbers else None
    if names is not None and len(set(names)) < len(names):
        names = None  # they do not tell the labels apart
    if names is not None and max(numbers) >= len(names):
        raise UserError(
            f"{_NAMES} names {len(names)} classes, but the tars hold label {max(numbers)}; choose "
            "the file that belongs to them"
        )
    return [n if isinstance(n, int) and n >= 0 else None for n in labels], names
