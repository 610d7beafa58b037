"""What every scorer does with a micro-batch: read its images, and say which of them failed."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from PIL import Image

from zsd_ray.data.dataset import ImageDataset
from zsd_ray.records.errors import ImageError, StoreError
from zsd_ray.records.scores import (
    ImageFailure,
    ItemScores,
    MicroBatch,
    MicroBatchScores,
    WorkItem,
)

PartT = TypeVar("PartT")


class MicroBatchScorer(ABC, Generic[PartT]):
    """A model bound to a data set and its classes. A part is an item, made ready on the CPU.

    Attributes:
        batch_size: evaluations that fill one forward.
    """

    batch_size: int

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset
        self._read: dict[int, Image.Image] = {}  # ahead of their micro-batch

    def read_ahead(self, micro_batch: MicroBatch) -> None:
        """Read the images of a micro-batch that is scored next; from another thread than `score`.

        So that the device need not wait for it. What cannot be read is left to `score`, which says
        why.
        """
        for image in {item.image for item in micro_batch.items}:
            if not self._remembers(image) and image not in self._read:
                with contextlib.suppress(ImageError, StoreError):
                    self._read[image] = self._dataset.read(image)

    @torch.no_grad()  # not inference mode, which torch.compile cannot trace
    def score(self, micro_batch: MicroBatch) -> MicroBatchScores:
        """Score every item; an image that cannot be read or scored becomes an ImageFailure."""
        start = time.perf_counter()
        answers: dict[int, ItemScores | ImageFailure] = {}
        parts = []
        failed: dict[int, ImageFailure] = {}  # an image may have several items
        for position, item in enumerate(micro_batch.items):
            try:
                if item.image not in failed:
                    parts.append(self._prepare(position, item))
            except ImageError as error:
                failed[item.image] = ImageFailure(str(error))
            except StoreError as error:
                failed[item.image] = ImageFailure(str(error), unreadable=True)
            if item.image in failed:
                answers[position] = failed[item.image]
            self._forget(item)
        n_rows = 0
        if parts:
            scored, n_rows = self._score_parts(parts)
            answers |= scored
        in_order = [answers[position] for position in range(len(micro_batch.items))]
        seconds = time.perf_counter() - start
        return MicroBatchScores.pack(micro_batch.id, in_order, n_rows, seconds)

    def _picture(self, image: int) -> Image.Image:
        """The picture, read ahead or now."""
        return self._read.pop(image, None) or self._dataset.read(image)

    def _forget(self, item: WorkItem) -> None:
        """Drop what was made ahead for an item and is not used."""
        self._read.pop(item.image, None)  # read twice, where both threads met it

    @abstractmethod
    def _remembers(self, image: int) -> bool:
        """Whether an image can be scored without reading it."""

    @abstractmethod
    def _prepare(self, position: int, item: WorkItem) -> PartT:
        """Make the item at a position of the micro-batch ready.

        Raises:
            ImageError, StoreError: the image is damaged, or its store does not answer.
        """

    @abstractmethod
    def _score_parts(self, parts: list[PartT]) -> tuple[dict[int, ItemScores | ImageFailure], int]:
        """The answers by position, and how many evaluations the forwards had room for."""
