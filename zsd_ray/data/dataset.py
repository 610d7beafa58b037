"""The interface of every data set, and the choice of a subset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.scores import ImageRecord


class ImageDataset(Protocol):
    """Images with their labels; listed once, then read one at a time on any machine.

    Attributes:
        records: every image, in reading order.
        label_names: the data's own name of each label, or None where labels are bare numbers.
    """

    records: RecordTable
    label_names: Sequence[str] | None

    def read(self, index: int) -> Image.Image:
        """Decode image `index` of `records`.

        Raises:
            ImageError: the image cannot be read; the message says why.
            StoreError: the store that holds it does not answer; the image itself may be valid.
        """


def choose_subset(records: Sequence[ImageRecord], limit: int | None) -> Sequence[int]:
    """Return the numbers of at most `limit` records, ascending.

    The choice depends on image ids alone and is nested: a larger limit adds images and drops none,
    so a run can be extended.
    """
    if limit is None or limit >= len(records):
        return range(len(records))
    by_hash = sorted(range(len(records)), key=lambda index: spread(records[index].image_id))
    return sorted(by_hash[:limit])


def choose_share(
    records: Sequence[ImageRecord], numbers: Sequence[int], share: float, seed: int
) -> list[int]:
    """Return about this share of `numbers`, also nested; the choice depends on the seed."""
    below = int(share * 2**64)
    return [
        number
        for number in numbers
        if int.from_bytes(spread(f"{seed} {records[number].image_id}")[:8]) < below
    ]


def spread(image_id: str) -> bytes:
    """Return a fixed, pseudo-random key of an image id."""
    return hashlib.blake2b(image_id.encode(), digest_size=16).digest()
