"""STL-10's binary files: 3 planes of 96x96 bytes per image, each plane column by column."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import numpy as np

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.arrays import ArrayDataset, LabelledRows, RawRows, find_folder
from zsd_ray.data.location import Location

_SHAPE = (3, 96, 96)  # plane, column, row
_SIZE = 3 * 96 * 96


def read(
    location: Location, split: str, spec: DatasetSpec, *, folders: Sequence[str]
) -> ArrayDataset | None:
    """Read SPLIT_X.bin and SPLIT_y.bin, whose labels count from 1; raises UserError."""
    folder = find_folder(location, folders, f"{split}_X.bin")
    if folder is None:
        return None
    images, classes = (
        location.join(posixpath.join(folder, f"{split}_{part}.bin")) for part in "Xy"
    )
    with location.user_errors(location.show(classes)):
        labels = np.frombuffer(location.read_bytes(classes), np.uint8).astype(int) - 1
    with location.user_errors(location.show(images)):
        n_images, rest = divmod(location.size(images) or 0, _SIZE)
        if rest:
            raise ValueError(f"{rest} bytes stand behind its last whole image; unpack it again")
        rows = RawRows(images, 0, _SIZE, _SHAPE, (2, 1, 0))
        files = [LabelledRows.matched(rows, n_images, labels.tolist())]
    return ArrayDataset(location, split, files, spec.label_names)
