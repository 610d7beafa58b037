"""Tars of samples, as WebDataset writes them and CLIP_benchmark's sets on the hub are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.label_order import order_labels
from zsd_ray.data.location import Location
from zsd_ray.data.readers.shards import find_split
from zsd_ray.data.readers.webdataset_reader import SUFFIXES, WebDataset


def read(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    label_column: Sequence[str],
    splits: Mapping[str, Sequence[str]] | None = None,
) -> WebDataset | None:
    """Read the tars whose names contain the split, or all if none contains any.

    Args:
        label_column: the first is a key of each .json, as for WebDataset; none: no labels.
        splits: the tars' names for a split, best first, if they differ from its own name.

    Raises:
        UserError: a tar is damaged, or holds samples without image or label, or other classes.
    """
    tars = find_split(location, SUFFIXES, (splits or {}).get(split, [split]))
    if not tars:
        return None
    dataset = WebDataset(location, label_column[0] if label_column else None, tars)
    order_labels(dataset, spec, f"data.path {location.shown}", dataset.has_listed_names)
    return dataset
