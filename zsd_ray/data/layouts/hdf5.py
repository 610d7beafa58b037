"""PCam's HDF5 files: `x` is (N, 96, 96, 3) bytes in one file, `y` (N, 1, 1, 1) in another."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.arrays import (
    ArrayDataset,
    LabelledRows,
    Pixels,
    find_folder,
    whole_numbers,
)
from zsd_ray.data.location import Location
from zsd_ray.data.readers.range_file import open_ranges
from zsd_ray.records.errors import UserError

_MOST_LABELS = 100_000_000
_LARGEST = 4096  # pixels of a side
_STEM = "camelyonpatch_level_2_split_"


@dataclass(frozen=True)
class Hdf5Rows:
    """Images stored as rows of one data set of a file, read one at a time."""

    path: str
    name: str

    def read(self, location: Location, row: int) -> Pixels:
        import h5py

        # Opened for each image: a file that is open when Python ends crashes h5py 3.16.
        with open_ranges(location, self.path) as opened, h5py.File(opened, "r") as file:
            pixels: Pixels = _dataset(file, self.name)[row]
            return pixels


def read(
    location: Location, split: str, spec: DatasetSpec, *, folders: Sequence[str]
) -> ArrayDataset | None:
    """Read the two files of a split.

    Raises:
        UserError: one is missing or damaged, or they are still compressed.
    """
    images, classes = f"{_STEM}{split}_x.h5", f"{_STEM}{split}_y.h5"
    folder = find_folder(location, folders, images)
    if folder is None:
        zipped = find_folder(location, folders, f"{images}.gz")
        if zipped is not None:
            raise UserError(
                f"{location.below(zipped).shown} holds {images}.gz, of which no single image can "
                f"be read; run gunzip on it and on {classes}.gz"
            )
        return None
    path, classes_path = (location.join(posixpath.join(folder, name)) for name in (images, classes))
    with location.user_errors(location.show(classes_path)):
        labels = location.read(classes_path, _labels)
    with location.user_errors(location.show(path)):
        n_images = _count(location, path)
        file = LabelledRows.matched(Hdf5Rows(path, "x"), n_images, labels)
    return ArrayDataset(location, split, [file], spec.label_names)


def _labels(opened: IO[bytes]) -> list[int]:
    import h5py

    with h5py.File(opened, "r") as file:
        found = _dataset(file, "y")
        if found.size > _MOST_LABELS or found.dtype.kind not in "iuf":
            raise ValueError(f"its y is {found.shape} {found.dtype}, not a number for each image")
        return whole_numbers(np.ravel(found[()]).tolist())


def _count(location: Location, path: str) -> int:
    import h5py

    with open_ranges(location, path) as opened, h5py.File(opened, "r") as file:
        found = _dataset(file, "x")
        is_image = found.ndim == 4 and found.shape[3] == 3 and max(found.shape[1:3]) <= _LARGEST
        if not is_image or found.dtype != np.uint8:
            raise ValueError(
                f"its x is {found.shape} {found.dtype}, not (images, rows, columns, 3) bytes with "
                f"up to {_LARGEST} rows and columns"
            )
        return int(found.shape[0])


def _dataset(file: Any, name: str) -> Any:
    """Return a data set of this file itself: links to other files are not followed."""
    import h5py

    if name not in file:
        raise ValueError(f"it has no data set {name!r}, but {', '.join(file) or 'none'}")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"its {name} is a link; put the publisher's file there")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise ValueError(f"its {name} is no array; put the publisher's file there")
    if found.external or found.is_virtual:
        raise ValueError(f"its {name} lies in other files; put the publisher's file there")
    return found
