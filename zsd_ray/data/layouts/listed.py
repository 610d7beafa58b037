"""A text file that lists the images of a split and their classes, one per line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.arrays import find_folder
from zsd_ray.data.layouts.image_files import ImageFiles, check_present
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError


def read(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    lists: Mapping[str, str],
    line: str,
    images: str,
    folders: Sequence[str],
    suffix: str = "",
) -> ImageFiles | None:
    """Read the images that a split's list names.

    Args:
        lists: split -> its list, below one of `folders`.
        line: a regular expression that a whole line matches, with the groups `image`, the
            image's path below `images` without `suffix`, and `label`, one of `spec.labels`.
        images: the folder of the images, below the same.

    Returns:
        None if the list is in none of the folders.

    Raises:
        UserError: a line that does not match, an unknown label, or a missing image.
    """
    folder = find_folder(location, folders, lists[split])
    if folder is None:
        return None
    base = location.below(folder)
    found = base.below(lists[split])
    with base.user_errors(found.shown):
        text = found.read_bytes(found.root).decode("utf-8")
    label_of = {name: label for label, name in enumerate(spec.labels)}
    pattern = re.compile(line)
    labels: dict[str, int] = {}
    for number, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        match = pattern.fullmatch(content.strip())
        if match is None or match["label"] not in label_of:
            what = "does not name an image and its class" if match is None else "names no class"
            raise UserError(
                f"{found.shown}, line {number}: {content.strip()!r} {what} of {spec.title}; put "
                "the list of the archive there"
            )
        name, label = match["image"] + suffix, label_of[match["label"]]
        if labels.setdefault(name, label) != label:
            raise UserError(
                f"{found.shown}, line {number}: {name} has another class on a line before; put the "
                "list of the archive there"
            )
    if not labels:
        raise UserError(f"{found.shown} lists no images; put the list of the archive there")
    inside = base.below(images)
    check_present(inside, labels, found.shown)
    return ImageFiles(inside, labels, spec.label_names)
