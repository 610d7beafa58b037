"""Images with the shape of one class and the texture of another (Geirhos et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts import class_folders
from zsd_ray.data.layouts.image_files import ImageFiles
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError

_NAME = re.compile(r"([a-z]+)\d+-([a-z]+)\d+\.png")


def cues(image_id: str) -> tuple[str, str]:
    """Return the classes of an image's shape and texture, from its name SHAPEn-TEXTUREm.png.

    The two are the same if the image has no conflict. A prefix of the name is ignored: folders, and
    in the recorded decisions the number of a trial.

    Raises:
        UserError: the name has another form.
    """
    match = _NAME.search(image_id)
    if match is None or match.end() != len(image_id):
        raise UserError(
            f"{image_id!r} does not say its cues; a cue-conflict image is named "
            "SHAPEn-TEXTUREm.png, such as cat7-elephant1.png"
        )
    return match[1], match[2]


def read(
    location: Location, split: str, spec: DatasetSpec, *, folders: Mapping[str, Sequence[str]]
) -> ImageFiles | None:
    """Read FOLDER/SHAPE/SHAPEn-TEXTUREm.png; an image's label is its shape.

    Returns:
        None if there are no such folders.

    Raises:
        UserError: an image whose name has no cues, an unknown texture or another shape than its
            folder.
    """
    dataset = class_folders.read(location, split, spec, folders=folders)
    if dataset is None:
        return None
    for record in dataset.records:
        shape, texture = cues(record.image_id)
        folder = record.image_id.partition("/")[0]
        if shape != folder or texture not in spec.labels:
            raise UserError(
                f"{record.source} has shape {shape!r} and texture {texture!r} by its name; it must "
                f"lie in the folder of its shape, and both be one of the {len(spec.labels)} classes"
            )
    return dataset
