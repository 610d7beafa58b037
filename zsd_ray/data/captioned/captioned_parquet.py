"""Parquet files with a column of captions, from which each image chooses among its own."""

from __future__ import annotations

from functools import partial
from typing import IO

import pyarrow as pa

from zsd_ray.data.captioned.captions import CaptionTable
from zsd_ray.data.location import Location
from zsd_ray.data.readers.arrow_kinds import is_list_of_text, plain
from zsd_ray.data.readers.parquet_file import open_file
from zsd_ray.data.readers.parquet_groups import read_groups
from zsd_ray.data.readers.parquet_reader import ParquetDataset
from zsd_ray.records.errors import UserError


def open_parquet(
    path: str | Location,
    image_column: str,
    label_column: str | None,
    caption_column: str | None,
    group_column: str | None,
) -> ParquetDataset:
    """Open images with labels, or with captions of their own; raises UserError as those classes
    do."""
    if caption_column is None:
        dataset = ParquetDataset(path, image_column, label_column)
    else:
        dataset = CaptionedParquet(path, image_column, label_column, caption_column)
    if group_column is not None:
        groups = dataset.column(partial(read_groups, group_column), "groups")
        dataset.records = dataset.records.grouped(groups)
    return dataset


class CaptionedParquet(ParquetDataset):
    """Like ParquetDataset, but `caption_column` holds a list of two or more texts per image.

    `label_column` holds the number of an image's right caption in its list, from 0; None: the first
    of every list is right. A null or negative number is an image without a label.

    Raises:
        UserError: as ParquetDataset; or an image has fewer than two captions, or a wrong label.
    """

    def __init__(
        self,
        path: str | Location,
        image_column: str,
        label_column: str | None,
        caption_column: str,
    ) -> None:
        super().__init__(path, image_column, label_column)
        places: list[int | None] = [record.label for record in self.records]
        if label_column is None:
            places = [0] * len(places)
        self.label_names = None
        captions = self._read_captions(caption_column, label_column)
        right: list[str | None] = []
        for index, (own, place) in enumerate(zip(captions, places, strict=True)):
            if place is not None and place >= len(own):
                raise UserError(
                    f"{self.records[index].source}: data.label_column {label_column!r} is {place}, "
                    f"but the image has {len(own)} captions, which are numbered from 0"
                )
            right.append(None if place is None else own[place])
        self.captions = CaptionTable.of(captions)
        self.records = self.records.relabelled(self.captions.labels(right))

    def _read_captions(self, column: str, label_column: str | None) -> list[list[str]]:
        """Return the captions of every image, in order of the records."""
        found = self.column(partial(_captions, column, label_column), "captions")
        for index, own in enumerate(found):
            if own is None or None in own or len(set(own)) < max(2, len(own)):
                raise UserError(
                    f"{self.records[index].source}: data.caption_column {column!r} holds "
                    f"{own!r:.80}; an image needs two captions or more, which differ"
                )
        return found


def _captions(column: str, label_column: str | None, opened: IO[bytes]) -> list[list[str]]:
    """Return the captions of one file, whose labels are numbers."""
    with open_file(opened) as file:
        schema = file.schema_arrow
        if label_column is not None and not _is_number(schema.field(label_column).type):
            raise UserError(
                f"data.label_column {label_column!r} is {schema.field(label_column).type}; with "
                "data.caption_column it is the number of an image's right caption, from 0 (null: "
                "the first)"
            )
        if column not in schema.names:
            raise UserError(
                f"data.caption_column {column!r} is no column; there are: {', '.join(schema.names)}"
            )
        if not is_list_of_text(schema.field(column).type):
            raise UserError(
                f"data.caption_column {column!r} is {schema.field(column).type!s:.80}; captions "
                "are list<string>"
            )
        values: list[list[str]] = file.read(columns=[column]).column(column).to_pylist()
        return values


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(plain(kind)) or pa.types.is_null(kind))
