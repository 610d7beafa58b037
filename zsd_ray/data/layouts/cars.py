"""Stanford Cars: images of a split in one folder, and a MATLAB file with the class of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.image_files import ImageFiles, check_present
from zsd_ray.data.layouts.mat_files import column, numbers
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError


def read(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    annotations: Mapping[str, str],
    folders: Sequence[str],
) -> ImageFiles | None:
    """Read cars_SPLIT/NNNNN.jpg.

    Args:
        annotations: split -> its MATLAB file, in one of `folders` or in devkit below it.

    Returns:
        None if that file is in none of them.

    Raises:
        UserError: the file has no classes, a class is unknown, or an image is missing.
    """
    for folder, devkit in product(folders, ("", "devkit")):
        base = location.below(folder)
        found = base.below(devkit).below(annotations[split])
        if found.kind() is not None:
            return _read(base, found, f"cars_{split}", spec)
    return None


def _read(base: Location, found: Location, images: str, spec: DatasetSpec) -> ImageFiles:
    files = [str(file) for file in column(found, "annotations", "fname")]
    classes = numbers(found, "annotations", "class")
    if classes.min() < 1 or classes.max() > spec.n_classes:
        raise UserError(
            f"{found.shown} holds classes {classes.min()} to {classes.max()}; those of "
            f"{spec.title} are 1 to {spec.n_classes}"
        )
    check_present(base.below(images), files, found.shown)
    # With the folder: both splits count their images from 1.
    ids = (f"{images}/{file}" for file in files)
    labels = {id_: int(number) - 1 for id_, number in zip(ids, classes, strict=True)}
    return ImageFiles(base, labels, spec.label_names)
