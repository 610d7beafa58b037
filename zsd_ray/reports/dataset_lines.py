"""The output of `zsd-ray datasets`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.reports.lines import columns

_HEADER = ("data.source", "images", "classes", "metric", "data.layout", "template")


def dataset_lines(specs: Sequence[DatasetSpec]) -> str:
    """Return one line per data set."""
    rows = [
        (
            spec.name,
            f"{spec.images:,}".rjust(len(_HEADER[1])),
            f"{spec.n_classes:,}".rjust(len(_HEADER[2])),
            spec.metric,
            " ".join(spec.layouts),
            spec.template,
        )
        for spec in specs
    ]
    return columns([_HEADER, *rows])


def dataset_tree(spec: DatasetSpec) -> dict[str, Any]:
    """Return the whole spec of a data set as plain values; each layout with its `needs`."""
    tree = spec.model_dump(mode="json", exclude={"name", "layouts"})
    return tree | {"layouts": {name: layout.needs for name, layout in spec.layouts.items()}}
