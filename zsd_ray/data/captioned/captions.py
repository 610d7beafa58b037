"""Captions of its own for each image: which of them fits is the question asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zsd_ray.data.dataset import ImageDataset


@dataclass(frozen=True)
class CaptionTable:
    """The captions that each of N images chooses among, in columns.

    A distinct text is a class of the run, so the label of an image's record is the number of its
    right one in `texts`.

    texts: all distinct captions, in the order in which they first came.
    choices: (N, M) int32, numbers of an image's captions in its own order, -1 behind the last.
    """

    texts: tuple[str, ...]
    choices: NDArray[np.int32]

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]]) -> CaptionTable:
        """From each image's captions."""
        number_of: dict[str, int] = {}
        rows = [
            [number_of.setdefault(text, len(number_of)) for text in texts] for texts in captions
        ]
        choices = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=np.int32)
        for row, numbers in zip(choices, rows, strict=True):
            row[: len(numbers)] = numbers
        return cls(tuple(number_of), choices)

    def labels(self, right: Iterable[str | None]) -> list[int | None]:
        """The label of each image by its right caption; None where that is not known."""
        number_of = {text: number for number, text in enumerate(self.texts)}
        return [None if text is None else number_of[text] for text in right]


@runtime_checkable
class CaptionedDataset(ImageDataset, Protocol):
    """Images with captions of their own; `label_names` is None."""

    captions: CaptionTable


@runtime_checkable
class DescribedDataset(ImageDataset, Protocol):
    """Images of which it is known what captions can truly say: a model can learn from them."""

    def true_captions(self, index: int) -> Sequence[str]:
        """Each of them once; what says most comes first."""
