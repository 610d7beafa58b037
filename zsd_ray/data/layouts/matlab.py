"""SVHN's MATLAB files: X is (32, 32, 3, N), y counts the digits from 1 and has 10 for 0.

Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011 (Format 2).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.arrays import ArrayDataset, LabelledRows, Pixels, WholeRows, find_folder
from zsd_ray.data.layouts.mat_files import numbers
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError

_ZERO = 10  # what the archive has for the digit 0


def read(
    location: Location, split: str, spec: DatasetSpec, *, folders: Sequence[str]
) -> ArrayDataset | None:
    """Read SPLIT_32x32.mat; raises UserError if it is damaged or has other content."""
    name = f"{split}_32x32.mat"
    folder = find_folder(location, folders, name)
    if folder is None:
        return None
    file = location.below(posixpath.join(folder, name))
    digits = numbers(file, "y")
    if digits.min() < 0 or digits.max() > _ZERO:
        raise UserError(f"{file.shown} holds a digit that is none of 0 to {_ZERO}")
    digits %= _ZERO
    with file.user_errors(file.shown):
        rows = WholeRows(file.root, _pixels)
        labelled = LabelledRows.matched(rows, len(rows.pixels(location)), digits.tolist())
    return ArrayDataset(location, split, [labelled], spec.label_names)


def _pixels(opened: IO[bytes]) -> Pixels:
    from scipy.io import loadmat

    found: NDArray[Any] | None = loadmat(opened, variable_names=["X"]).get("X")
    if found is None or found.ndim != 4 or found.shape[2] != 3 or found.dtype != np.uint8:
        raise ValueError("it has no X of (rows, columns, 3, images) bytes; take the cropped digits")
    return found.transpose(3, 0, 1, 2)
