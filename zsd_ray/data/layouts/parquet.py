"""Parquet files with encoded images, as the Hugging Face hub keeps data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO

import pyarrow as pa

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.layouts.label_order import order_labels
from zsd_ray.data.location import Location
from zsd_ray.data.readers.parquet_file import open_file
from zsd_ray.data.readers.parquet_reader import SUFFIXES, ParquetDataset
from zsd_ray.data.readers.shards import find_split


def read(
    location: Location,
    split: str,
    spec: DatasetSpec,
    *,
    image_column: Sequence[str],
    label_column: Sequence[str],
    folder: str = "",
    splits: Mapping[str, Sequence[str]] | None = None,
) -> ParquetDataset | None:
    """Read the files whose names contain the split, or all if none contains any.

    Args:
        image_column, label_column: possible names, best first; no label column: no labels.
        folder: of the files, in a repository that has other variants beside it.
        splits: the files' names for a split, best first, if they differ from its own name.

    Raises:
        UserError: the files are damaged, have none of these columns, or other classes.
    """
    place = location.below(folder) if location.exists(folder) else location
    files = find_split(place, SUFFIXES, (splits or {}).get(split, [split]))
    if not files:
        return None
    first = files[0]
    with place.user_errors(f"{first.name} of data.path {place.shown} as Parquet"):
        schema = place.read(first.path, _schema)
    image, label = (_present(columns, schema) for columns in (image_column, label_column))
    assert image is not None
    dataset = ParquetDataset(place, image, label, files)
    kind = schema.field(label).type if label in schema.names else None
    ordered = kind is not None and pa.types.is_integer(kind)
    order_labels(dataset, spec, f"data.path {place.shown}", ordered)
    return dataset


def _schema(opened: IO[bytes]) -> pa.Schema:
    with open_file(opened) as file:
        return file.schema_arrow


def _present(columns: Sequence[str], schema: pa.Schema) -> str | None:
    """Return the first existing column; if there is none, the first, which the reader reports."""
    return next((name for name in columns if name in schema.names), columns[0] if columns else None)
