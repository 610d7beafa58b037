"""What `zsd-ray datasets` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.reports.lines import columns

_HEADER = ("data.source", "images", "classes", "metric", "data.layout", "template")


def dataset_lines(specs: Sequence[DatasetSpec]) -> str:
    """One line a data set."""
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
    """All that is known of a data set, as plain values; each layout with what it needs."""
    tree = spec.model_dump(mode="json", exclude={"name", "layouts"})
    return tree | {"layouts": {name: layout.needs for name, layout in spec.layouts.items()}}
