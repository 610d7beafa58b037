"""Stanford Cars: images of a split in one folder, and a MATLAB file with the class of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.image_files import ImageFiles, check_present
from zsd_ray.data.layouts.mat_files import column
from zsd_ray.data.location import Location
from zsd_ray.spec.errors import UserError


def read(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    annotations: Mapping[str, Sequence[str]],
    root: str = ".",
) -> ImageFiles | None:
    """Read cars_SPLIT/NNNNN.jpg.

    Args:
        annotations: split -> the places of its MATLAB file below `root`, best first.

    Returns:
        None where that file is in none of them.

    Raises:
        UserError: the file has no classes, a class is unknown, or an image is not there.
    """
    base = location.below(root)
    places = (base.below(name) for name in annotations[split])
    found = next((place for place in places if place.kind() is not None), None)
    if found is None:
        return None
    files = column(found, "annotations", "fname")
    classes = column(found, "annotations", "class").astype(int)
    if classes.min() < 1 or classes.max() > spec.n_classes:
        raise UserError(
            f"{found.shown} holds classes {classes.min()} to {classes.max()}; those of "
            f"{spec.title} are 1 to {spec.n_classes}"
        )
    labels = {str(file): int(number) - 1 for file, number in zip(files, classes, strict=True)}
    images = base.below(f"cars_{split}")
    check_present(images, labels, found.shown)
    return ImageFiles(images, labels, spec.label_names)
