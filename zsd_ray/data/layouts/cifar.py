"""CIFAR's batches: images as 3 planes of 32x32 bytes, in a binary file or in a pickle."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from functools import partial
from typing import IO, Any

import numpy as np

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.array_pickle import load_arrays
from zsd_ray.data.layouts.arrays import (
    ArrayDataset,
    LabelledRows,
    Pixels,
    RawRows,
    WholeRows,
    find_folder,
    whole_numbers,
)
from zsd_ray.data.location import Location

_SHAPE = (3, 32, 32)
_SIZE = 3 * 32 * 32


def read(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    folders: Sequence[str],
    files: Mapping[str, Sequence[str]],
    label_key: str,
    label_bytes: int,
) -> ArrayDataset | None:
    """Read the batches of a split; binary ones are preferred.

    Args:
        folders: possible folders of the batches.
        files: the batches of each split; binary ones have .bin after these names.
        label_key: of the labels in a pickled batch.
        label_bytes: their number before each image of a binary batch; the last is the label.

    Raises:
        UserError: a batch is missing, damaged, or holds something else.
    """
    for suffix, look in (
        (".bin", partial(_binary, label_bytes)),
        ("", partial(_pickled, label_key)),
    ):
        folder = find_folder(location, folders, files[split][0] + suffix)
        if folder is None:
            continue
        batches = []
        for name in files[split]:
            path = location.join(posixpath.join(folder, name + suffix))
            with location.user_errors(location.show(path)):
                batches.append(look(location, path))
        return ArrayDataset(location, split, batches, spec.label_names)
    return None


def _binary(label_bytes: int, location: Location, path: str) -> LabelledRows:
    step = label_bytes + _SIZE
    data = location.read_bytes(path)
    if not data or len(data) % step:
        raise ValueError(f"its {len(data)} bytes are no whole images of {step}; unpack it again")
    labels = np.frombuffer(data, np.uint8).reshape(-1, step)[:, label_bytes - 1]
    return LabelledRows(RawRows(path, label_bytes, step, _SHAPE, (1, 2, 0)), labels.tolist())


def _pickled(label_key: str, location: Location, path: str) -> LabelledRows:
    rows = WholeRows(path, _pixels)
    labels = location.read(path, partial(_labels, label_key))
    return LabelledRows.matched(rows, len(rows.pixels(location)), labels)


def _labels(key: str, opened: IO[bytes]) -> Sequence[int]:
    labels = _part(load_arrays(opened), key)
    if not isinstance(labels, Sequence | np.ndarray):
        raise ValueError(f"its {key} are no list; take the publisher's batch")
    return whole_numbers(labels)


def _pixels(opened: IO[bytes]) -> Pixels:
    rows = _part(load_arrays(opened), "data")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8:
        came = rows.dtype if isinstance(rows, np.ndarray) else f"a {type(rows).__name__}"
        raise ValueError(f"its data are {came}, not bytes; take the publisher's batch")
    if rows.shape[1:] not in ((_SIZE,), _SHAPE):
        raise ValueError(
            f"its data have the shape {rows.shape}, where images are rows of {_SIZE} bytes, plane "
            "by plane; take the publisher's batch"
        )
    return rows.reshape(-1, *_SHAPE).transpose(0, 2, 3, 1)


def _part(batch: Mapping[str | bytes, Any], key: str) -> Any:
    """Return a value of a batch, whose keys are text, or bytes if kept from Python 2."""
    for name in (key, key.encode()):
        if name in batch:
            return batch[name]
    raise ValueError(f"the pickle is no batch of CIFAR: it has no {key!r}")
