"""Data sets in which each image chooses among captions of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zsd_ray.data.dataset import ImageDataset


@dataclass(frozen=True)
class CaptionTable:
    """The captions from which each of N images chooses, in columns.

    A distinct text is a class of the run, so the label of an image's record is the number of its
    right caption in `texts`.

    texts: all distinct captions, in the order in which they first came.
    choices: (N, M) int32, numbers of an image's captions in its own order, padded with -1.
    """

    texts: tuple[str, ...]
    choices: NDArray[np.int32]

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]]) -> CaptionTable:
        """Make the table from each image's captions."""
        number_of: dict[str, int] = {}
        rows = [
            [number_of.setdefault(text, len(number_of)) for text in texts] for texts in captions
        ]
        choices = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=np.int32)
        for row, numbers in zip(choices, rows, strict=True):
            row[: len(numbers)] = numbers
        return cls(tuple(number_of), choices)

    def labels(self, right: Iterable[str | None]) -> list[int | None]:
        """Return each image's label, by its right caption; None if that is not known."""
        number_of = {text: number for number, text in enumerate(self.texts)}
        return [None if text is None else number_of[text] for text in right]


@runtime_checkable
class CaptionedDataset(ImageDataset, Protocol):
    """Images with captions of their own; `label_names` is None."""

    captions: CaptionTable


@runtime_checkable
class DescribedDataset(ImageDataset, Protocol):
    """Images with all their true captions, from which a model can learn."""

    def true_captions(self, index: int) -> Sequence[str]:
        """Return the distinct true captions of an image, the most detailed first."""
