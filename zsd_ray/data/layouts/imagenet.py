"""ImageNet without class folders: the challenge's archives, and names with a WNID.

Ids are still WNID/NAME, as with folders, so that the same image has the same noise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.image_files import ImageFiles, image_names
from zsd_ray.data.layouts.mat_files import column
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError, some

_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
_WNID = re.compile(r"(n\d{8})_[^/]+")
_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"
_META = "data/meta.mat"


def read_validation(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    images: Sequence[str],
    devkits: Sequence[str],
) -> ImageFiles | None:
    """Read ILSVRC2012_val_NNNNNNNN.JPEG, all in one folder, with the labels of the devkit.

    The devkit numbers classes in its own way (ILSVRC2012_ID); meta.mat gives the WNID of each.

    Args:
        images: possible folders of the images; devkits: of the unpacked devkit; best first.

    Returns:
        None if images or devkit are missing.

    Raises:
        UserError: the devkit's files do not fit each other or the images.
    """
    if split != "test":
        return None
    kits = (location.below(folder) for folder in devkits)
    kit = next((kit for kit in kits if kit.below(_TRUTH).kind() is not None), None)
    if kit is None:
        return None
    for folder in images:
        inside = location.below(folder)
        number_of = {
            name: int(match[1])
            for name in image_names(inside)
            if (match := _VALIDATION.fullmatch(name))
        }
        if number_of:
            labels = _labels(kit, spec, number_of)
            return ImageFiles(inside, labels, spec.label_names, flat=True)
    return None


def _labels(kit: Location, spec: DatasetSpec, number_of: dict[str, int]) -> dict[str, int]:
    """Return WNID/NAME -> label of each image by the devkit; images are numbered from 1."""
    truth, meta = kit.below(_TRUTH), kit.below(_META)
    with kit.user_errors(truth.shown):
        ids = np.array(truth.read_bytes(truth.root).split(), dtype=int)
    numbers, wnids = (column(meta, "synsets", name) for name in ("ILSVRC2012_ID", "WNID"))
    label_of_wnid = {wnid: label for label, wnid in enumerate(spec.labels)}
    # Beyond the 1,000 classes, the devkit has the synsets above them.
    label_of = {
        int(number): label_of_wnid[wnid]
        for number, wnid in zip(numbers, map(str, wnids), strict=True)
        if wnid in label_of_wnid
    }
    unknown = sorted({int(id_) for id_ in ids} - label_of.keys())
    if unknown:
        raise UserError(
            f"{truth.shown} holds the class {unknown[0]}, which {meta.shown} gives no WNID of "
            f"{spec.title}; put both files of one devkit there"
        )
    odd = next((n for n in number_of.values() if not 1 <= n <= len(ids)), None)
    if odd is not None:
        raise UserError(
            f"{truth.shown} has the classes of {len(ids)} images, and there is an image number "
            f"{odd}; put the archive's own file there"
        )
    labels = {name: label_of[int(ids[number - 1])] for name, number in number_of.items()}
    return {f"{spec.labels[label]}/{name}": label for name, label in labels.items()}


def read_named(location: Location, _split: str, spec: DatasetSpec) -> ImageFiles | None:
    """Read WNID_ANYTHING.JPEG in one folder, as the training images are named.

    Reads them for any split: the folder does not say which it is.

    Returns:
        None if no image is named so.

    Raises:
        UserError: a WNID belongs to no class.
    """
    matches = [match for name in image_names(location) if (match := _WNID.fullmatch(name))]
    if not matches:
        return None
    label_of = {wnid: label for label, wnid in enumerate(spec.labels)}
    unknown = sorted({match[1] for match in matches} - label_of.keys())
    if unknown:
        raise UserError(
            f"data.path {location.shown} holds images of {len(unknown)} WNIDs that are no classes "
            f"of {spec.title} ({some(unknown)}); move them elsewhere"
        )
    labels = {f"{match[1]}/{match[0]}": label_of[match[1]] for match in matches}
    return ImageFiles(location, labels, spec.label_names, flat=True)
