"""Flowers-102: images with a number, and two MATLAB files: label of each, numbers of a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.arrays import find_folder
from zsd_ray.data.layouts.image_files import ImageFiles, check_present
from zsd_ray.data.layouts.mat_files import numbers
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError

# As the archive has them: what it calls tstid is the large part, and the test split everywhere.
_SPLITS = {"test": ("tstid",), "train": ("trnid", "valid")}


def read(
    location: Location, split: str, spec: DatasetSpec, *, folders: Sequence[str]
) -> ImageFiles | None:
    """Read jpg/image_NNNNN.jpg of a split, numbered from 1, as setid.mat and imagelabels.mat say.

    Returns:
        None if there is no setid.mat in any of `folders`.

    Raises:
        UserError: a file is missing or does not fit, or a number has no label.
    """
    folder = find_folder(location, folders, "setid.mat")
    if folder is None:
        return None
    base = location.below(folder)
    splits, table, images = (base.below(n) for n in ("setid.mat", "imagelabels.mat", "jpg"))
    chosen = np.concatenate([numbers(splits, part) for part in _SPLITS[split]])
    classes = numbers(table, "labels")
    if chosen.min() < 1 or chosen.max() > len(classes):
        raise UserError(
            f"{splits.shown} names images {chosen.min()} to {chosen.max()}, but {table.shown} "
            f"has the labels of images 1 to {len(classes)}; put the archive's own files there"
        )
    if classes.min() < 1 or classes.max() > spec.n_classes:
        raise UserError(
            f"{table.shown} holds labels {classes.min()} to {classes.max()}; those of "
            f"{spec.title} are 1 to {spec.n_classes}"
        )
    labels = {f"image_{number:05d}.jpg": int(classes[number - 1]) - 1 for number in chosen}
    check_present(images, labels, splits.shown)
    return ImageFiles(images, labels, spec.label_names)
