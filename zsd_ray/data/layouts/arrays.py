"""Images stored as rows of arrays in a few files."""

from __future__ import annotations

import posixpath
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.data.location import Location
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import UserError

Pixels = NDArray[np.uint8]


class ImageRows(Protocol):
    """A file of images that are rows of an array; picklable, and small when pickled."""

    @property
    def path(self) -> str:
        """Return the full path, as the location's filesystem writes it."""

    def read(self, location: Location, row: int) -> Pixels:
        """Return the image, (H, W) or (H, W, 3) uint8."""


@dataclass(frozen=True)
class RawRows:
    """Images of one size without compression: each is read by its byte range.

    start: the offset of the first image's pixels.
    step: bytes from one image to the next.
    shape: of an image as it is stored, C order.
    axes: the stored axes in the order (H, W) or (H, W, 3).
    """

    path: str
    start: int
    step: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def read(self, location: Location, row: int) -> Pixels:
        start, size = self.start + row * self.step, int(np.prod(self.shape))
        data = location.read_bytes(self.path, start, start + size)
        if len(data) != size:
            raise EOFError(f"it has {len(data)} of its {size} bytes; the file has been cut")
        pixels: Pixels = np.frombuffer(data, np.uint8).reshape(self.shape).transpose(self.axes)
        return pixels


class WholeRows:
    """A file that can only be read whole; each process does so once, and keeps its array.

    Args:
        load: a function of a module, so that it can be pickled; returns (N, H, W) or (N, H, W, 3).
    """

    def __init__(self, path: str, load: Callable[[IO[bytes]], Pixels]) -> None:
        self._path = path
        self._load = load
        self._keep_nothing()

    @property
    def path(self) -> str:
        return self._path

    def _keep_nothing(self) -> None:
        self._lock = threading.Lock()
        self._kept: Pixels | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_load": self._load}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep_nothing()

    def pixels(self, location: Location) -> Pixels:
        """Return all images: (N, H, W) or (N, H, W, 3)."""
        with self._lock:  # threads wait for each other: none reads twice
            if self._kept is None:
                self._kept = location.read(self._path, self._load)
            return self._kept

    def read(self, location: Location, row: int) -> Pixels:
        pixels: Pixels = self.pixels(location)[row]
        return pixels


@dataclass(frozen=True)
class LabelledRows:
    """A file of images with their labels, one per image."""

    rows: ImageRows
    labels: Sequence[int]

    @classmethod
    def matched(cls, rows: ImageRows, n_images: int, labels: Sequence[int]) -> LabelledRows:
        """Pair images and labels; raises ValueError if their numbers differ or a label is no
        integer."""
        if n_images != len(labels):
            raise ValueError(
                f"it holds {n_images} images for {len(labels)} labels; take both from one archive"
            )
        return cls(rows, whole_numbers(labels))


class ArrayDataset:
    """Images of one split in files of arrays; an image's id is SPLIT/NUMBER.

    Raises:
        UserError: a label is not one of the classes.
    """

    records: RecordTable
    label_names: Sequence[str] | None

    def __init__(
        self,
        location: Location,
        split: str,
        files: Sequence[LabelledRows],
        label_names: Sequence[str] | None,
    ) -> None:
        self._location = location
        self._files = [file.rows for file in files]
        self._starts: list[int] = []  # of each file, the number of its first image
        self.label_names = label_names
        labels: list[int] = []
        sources: list[str] = []
        for file in files:
            shown = location.show(file.rows.path)
            _check_labels(file.labels, label_names, shown)
            self._starts.append(len(labels))
            labels += file.labels
            sources += [f"{shown}[{row}]" for row in range(len(file.labels))]
        ids = [f"{split}/{number:06d}" for number in range(len(labels))]
        self.records = RecordTable(ids, sources, labels)

    def read(self, index: int) -> Image.Image:
        file = bisect_right(self._starts, index) - 1
        with self._location.image_errors(self.records[index].source):
            pixels = self._files[file].read(self._location, index - self._starts[file])
            return Image.fromarray(np.ascontiguousarray(pixels))


def whole_numbers(values: Iterable[Any]) -> list[int]:
    """Return labels as integers; raises ValueError if one is not, such as 1.5, NaN or text."""
    found = list(values)
    odd = next((each for each in found if not _is_whole(each)), None)
    if odd is not None:
        raise ValueError(f"it holds the label {odd!r:.40}; labels are whole numbers")
    return [int(each) for each in found]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) or (
        isinstance(value, float | np.floating) and float(value).is_integer()
    )


def _check_labels(labels: Sequence[int], names: Sequence[str] | None, shown: str) -> None:
    odd = next((label for label in labels if label < 0 or (names and label >= len(names))), None)
    if odd is not None:
        raise UserError(f"{shown} holds label {odd}; {len(names or ())} classes count from 0")


def find_folder(location: Location, folders: Sequence[str], name: str) -> str | None:
    """Return the first of some folders of a location that contains this name."""
    there = (each for each in folders if location.exists(posixpath.join(each, name)))
    return next(there, None)
