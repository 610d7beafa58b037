"""A folder with one subfolder of images per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.image_files import ImageFiles, image_names
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError, some


def read(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    folders: Mapping[str, Sequence[str]],
    numbered: bool = False,
    others: bool = False,
    border: int = 0,
) -> ImageFiles | None:
    """Read the images of SPLIT'S FOLDER/CLASS/....

    Classes without a folder have no images, but remain classes: subsets are common.

    Args:
        folders: the folders in which a split's class folders may be, best first; "" is the
            location itself.
        numbered: class folders are named after the label's number, and not its `spec.labels`.
        others: whether folders of other classes are allowed, and left out.
        border: as ImageFiles takes it.

    Returns:
        None if none of `folders` holds a folder of a class with an image in it.

    Raises:
        UserError: a folder holds images but is not of a class.
    """
    names = [str(label) for label in range(spec.n_classes)] if numbered else spec.labels
    label_of = {name: label for label, name in enumerate(names)}
    for folder in folders.get(split, ()):
        inside = location.below(folder)
        images = [name for name in image_names(inside) if "/" in name]
        labels = {
            name: label_of[name.partition("/")[0]]
            for name in images
            if name.partition("/")[0] in label_of
        }
        if not labels:
            continue
        unknown = sorted({name.partition("/")[0] for name in images} - label_of.keys())
        if unknown and not others:
            raise UserError(
                f"data.path {inside.shown} holds {len(unknown)} folders of images that are no "
                f"classes of {spec.title} ({some(unknown)}); its {len(names)} class folders are "
                f"{some(names)}: move the others elsewhere, or check data.source"
            )
        return ImageFiles(inside, labels, spec.label_names, border)
    return None
