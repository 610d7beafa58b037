"""A data set whose pictures are changed when they are read, and is otherwise the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from PIL import Image

from zsd_ray.data.captioned.captions import CaptionedDataset, CaptionTable, DescribedDataset
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.scores import ImageRecord


class ChangedDataset(ABC):
    """The base of data sets with changed pictures; a subclass defines the change."""

    records: RecordTable
    label_names: Sequence[str] | None
    captions: CaptionTable
    true_captions: Callable[[int], Sequence[str]]

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset
        self.records, self.label_names = dataset.records, dataset.label_names
        # What a data set can do shows in its attributes, so it has those that the other one has.
        if isinstance(dataset, CaptionedDataset):
            self.captions = dataset.captions
        if isinstance(dataset, DescribedDataset):
            self.true_captions = dataset.true_captions

    def read(self, index: int) -> Image.Image:
        """Read a picture like `ImageDataset.read`, and change it."""
        return self._change(self._dataset.read(index), self.records[index])

    @abstractmethod
    def _change(self, picture: Image.Image, record: ImageRecord) -> Image.Image:
        """Return the changed picture, a function of the arguments only; raises ImageError."""
