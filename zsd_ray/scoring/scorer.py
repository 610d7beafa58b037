"""Scores micro-batches: the work of every worker of both shells, for all methods."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from zsd_ray.config.method_section import Method as MethodSection
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.methods.method import Bound, BoundBaseline, Method, Unit, UnitScores, method_class
from zsd_ray.models.rows import RowNetwork
from zsd_ray.records.cost import RunSize
from zsd_ray.records.errors import ImageError, StoreError
from zsd_ray.records.scores import (
    ImageFailure,
    ItemScores,
    MicroBatch,
    MicroBatchScores,
    WorkItem,
)
from zsd_ray.scoring.samples import Samples, encoder, preprocessor

Uncompiled = Callable[[], RowNetwork]
"""Binds the denoiser to the prompts anew, uncompiled."""


class Scorer:
    """A method bound to a model, its classes and a data set; caches the last prepared images.

    Args:
        bound: its rows are those of every forward; they are halved if memory runs out.
        section: the method's.
        size: of the run.
        uncompiled: returns a denoiser's network without compilation, used after rows are halved;
            compiling another shape would take longer than a worker may be silent.
    """

    def __init__(
        self,
        bound: Bound | BoundBaseline,
        section: MethodSection,
        size: RunSize,
        dataset: ImageDataset,
        uncompiled: Uncompiled | None = None,
    ) -> None:
        self._bound = bound
        self._section = section
        self._size = size
        self._dataset = dataset
        self._uncompiled = uncompiled
        self._class = method_class(section)
        self._method: Method | None = self._class(bound, section)
        make = (
            encoder(bound.denoiser, self._class.takes_pixels)
            if isinstance(bound, Bound)
            else preprocessor(bound.classifier)
        )
        self._samples = Samples(make)
        self._read: dict[int, Image.Image] = {}  # ahead of their micro-batch

    @property
    def batch_size(self) -> int:
        """Return the number of evaluations that fill one forward."""
        return self._section.evaluations_per_batch(self._bound.rows, self._size)

    def read_ahead(self, micro_batch: MicroBatch) -> None:
        """Read the images of the next micro-batch and prepare its draws, in another thread than
        `score`, so that the device need not wait.

        An image that cannot be read is left to `score`, which reports why.
        """
        for item in micro_batch.items:
            image = item.image
            if image not in self._samples and image not in self._read:
                with contextlib.suppress(ImageError, StoreError):
                    self._read[image] = self._dataset.read(image)
            if (method := self._method) is not None:
                method.ahead(self._id(item), _draws(item))

    @torch.no_grad()  # not inference mode, which torch.compile cannot trace
    def score(self, micro_batch: MicroBatch) -> MicroBatchScores:
        """Score every item; an image that cannot be read or scored becomes an ImageFailure."""
        start = time.perf_counter()
        units: dict[int, Unit] = {}  # by position
        failed: dict[int, ImageFailure] = {}  # an image may have several items
        for position, item in enumerate(micro_batch.items):
            if item.image in failed:
                continue
            try:
                units[position] = self._unit(item)
            except ImageError as error:
                failed[item.image] = ImageFailure(str(error))
            except StoreError as error:
                failed[item.image] = ImageFailure(str(error), unreadable=True)
        scored = self._scored(list(units.values())) if units else []
        for item in micro_batch.items:
            self._forget(item)
        found = dict(zip(units, scored, strict=True))
        answers = [
            self._answer(found[position]) if position in found else failed[item.image]
            for position, item in enumerate(micro_batch.items)
        ]
        spent = sum(scores.n_evaluations for scores in scored)
        n_rows = -(-spent // self.batch_size) * self.batch_size  # with what pads the last batch
        seconds = time.perf_counter() - start
        return MicroBatchScores.pack(micro_batch.id, answers, n_rows, seconds)

    def _unit(self, item: WorkItem) -> Unit:
        sample = self._samples.get(item.image, self._id(item), self._picture)
        if sample.pixels.numel():
            sample = replace(sample, pixels=sample.pixels.to(sample.x_0.device))
        return Unit(sample, _draws(item), item.classes)

    def _picture(self, image: int) -> Image.Image:
        """Return the picture, read ahead or now."""
        return self._read.pop(image, None) or self._dataset.read(image)

    def _forget(self, item: WorkItem) -> None:
        """Drop data prepared for an item that is not used any more."""
        self._read.pop(item.image, None)  # read twice, where both threads met it
        if self._method is not None:
            self._method.forget(self._id(item), _draws(item))

    def _id(self, item: WorkItem) -> str:
        return self._dataset.records[item.image].image_id

    def _scored(self, units: list[Unit]) -> list[UnitScores]:
        while True:
            assert self._method is not None
            try:
                return self._method.score(units)
            except torch.OutOfMemoryError:
                if self._bound.rows == 1:
                    raise
            self._halve()  # outside the handler, whose traceback holds tensors

    def _halve(self) -> None:
        self._method = None  # its parts are loaded again
        torch.cuda.empty_cache()
        rows = self._bound.rows // 2
        if isinstance(self._bound, Bound):
            network = self._bound.network if self._uncompiled is None else self._uncompiled()
            self._bound = replace(self._bound, rows=rows, network=network)
            how = f"batches of {rows}, uncompiled"
        else:
            self._bound = replace(self._bound, rows=rows)
            how = f"batches of {rows} images"
        self._method = self._class(self._bound, self._section)
        warnings.warn(f"out of memory: a worker continues with {how}", stacklevel=4)

    def _answer(self, found: UnitScores) -> ItemScores | ImageFailure:
        if not np.isfinite(found.scores).all():
            return ImageFailure(f"{self._not_finite()}; try model.dtype: float32")
        counted = found.n_evaluations if self._section.counted else None
        return ItemScores(found.scores, found.draws, counted)

    def _not_finite(self) -> str:
        if self._section.weighted:
            return "the model's error is not finite"
        if self._section.of_classifier:
            return "the model's scores are not finite"
        return (
            f"the scores of {self._section.name} are not finite: a lower level of noise, or larger "
            "tolerances where it integrates, may help"
        )


def _draws(item: WorkItem) -> range:
    return range(item.first_draw, item.first_draw + item.n_draws)
