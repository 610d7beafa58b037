"""MNIST's idx files, compressed or not: a header of big-endian sizes, then bytes.

Format: LeCun, Cortes & Burges, The MNIST database of handwritten digits, "File formats".
"""

from __future__ import annotations

import gzip
import math
import posixpath
import struct
from collections.abc import Sequence
from typing import IO

import numpy as np

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.arrays import (
    ArrayDataset,
    LabelledRows,
    Pixels,
    RawRows,
    WholeRows,
    find_folder,
)
from zsd_ray.data.location import Location

_PREFIX = {"test": "t10k", "train": "train"}
_UNSIGNED_BYTES = 8  # their number among the types of a header
_LONGEST_HEADER = 4 + 4 * 3
_MOST_UNZIPPED = 2**31  # of the literature's sets the largest has a fortieth


def read(
    location: Location, split: str, spec: DatasetSpec, *, folders: Sequence[str]
) -> ArrayDataset | None:
    """Read the images and labels of a split; uncompressed files are preferred to .gz.

    Raises:
        UserError: a file is missing or damaged.
    """
    stem = f"{_PREFIX[split]}-images-idx3-ubyte"
    for suffix in ("", ".gz"):
        folder = find_folder(location, folders, stem + suffix)
        if folder is not None:
            images = location.join(posixpath.join(folder, stem + suffix))
            file = _labelled(location, images)
            return ArrayDataset(location, split, [file], spec.label_names)
    return None


def _labelled(location: Location, images: str) -> LabelledRows:
    folder, _, name = images.rpartition("/")
    classes = f"{folder}/{name.replace('-images-idx3-', '-labels-idx1-')}"
    rows: RawRows | WholeRows
    if name.endswith(".gz"):
        with location.user_errors(location.show(classes)):
            labels = location.read(classes, _unzipped)
        with location.user_errors(location.show(images)):
            rows = WholeRows(images, _unzipped)
            return LabelledRows.matched(rows, len(rows.pixels(location)), labels.tolist())
    with location.user_errors(location.show(classes)):
        labels = _array(location.read_bytes(classes))
    with location.user_errors(location.show(images)):
        start, (n_images, *shape) = _header(location.read_bytes(images, 0, _LONGEST_HEADER))
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"its images are of {shape} pixels, not of rows and columns")
        rows = RawRows(images, start, math.prod(shape), tuple(shape), (0, 1))
        _check_size(location.size(images) or 0, start + n_images * rows.step)
        return LabelledRows.matched(rows, n_images, labels.tolist())


def _unzipped(opened: IO[bytes]) -> Pixels:
    with gzip.GzipFile(fileobj=opened) as file:
        head = file.read(_LONGEST_HEADER)
        start, sizes = _header(head)
        n_bytes = start + math.prod(sizes)
        if n_bytes > _MOST_UNZIPPED:
            raise ValueError(f"its header says {n_bytes} bytes; unpack so large a file")
        # One byte more than allowed, so that surplus data is noticed.
        return _array(head + file.read(max(0, n_bytes + 1 - len(head))))


def _array(data: bytes) -> Pixels:
    start, sizes = _header(data)
    _check_size(len(data), start + math.prod(sizes))
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes)


def _header(data: bytes) -> tuple[int, tuple[int, ...]]:
    """Return the length of the header, and the sizes of the array after it."""
    if len(data) < 4 or data[:3] != bytes((0, 0, _UNSIGNED_BYTES)) or not 1 <= data[3] <= 3:
        raise ValueError(
            f"it begins with {data[:4].hex(' ')}, but an idx file of bytes with 00 00 08 and the "
            "number of its axes; take it from the archive again"
        )
    start = 4 + 4 * data[3]
    _check_size(len(data), start, at_least=True)
    return start, struct.unpack(f">{data[3]}I", data[4:start])


def _check_size(size: int, expected: int, at_least: bool = False) -> None:
    if size < expected or (size > expected and not at_least):
        raise ValueError(
            f"it has {size} bytes where its header says {expected}; take it from the archive again"
        )
