"""Scores a micro-batch by one of the algorithms of methods/."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from zsd_ray.config.algorithms import AlgorithmMethod
from zsd_ray.config.run import RunConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.methods.algorithm import Algorithm, Bound, Sample, Unit, UnitScores, algorithm
from zsd_ray.models.denoiser import Conditioning, Denoiser, PromptEncoder
from zsd_ray.models.rows import plain_rows, wrapper
from zsd_ray.records.scores import ImageFailure, ItemScores, WorkItem
from zsd_ray.scoring.cost import UNMEASURED, evaluations_per_batch
from zsd_ray.scoring.encoded_images import EncodedImages
from zsd_ray.scoring.micro_batch_scorer import MicroBatchScorer
from zsd_ray.storage.store import Store

_Part = tuple[int, WorkItem, Unit]
"""A position in the micro-batch, the item there, and its unit."""


class AlgorithmScorer(MicroBatchScorer[_Part]):
    """A denoiser bound to a data set, its classes and an algorithm.

    A trajectory is many evaluations, so `batch_size` is those of a forward's rows together: the
    scheduler then fills rows, and not steps.

    Args:
        conditioning: as methods/algorithm.py's `Bound` has it, on the CPU.
        names: of the classes.
        prompt_encoder, store: as there.
    """

    def __init__(
        self,
        config: RunConfig,
        denoiser: Denoiser,
        dataset: ImageDataset,
        conditioning: Conditioning,
        names: Sequence[str],
        prompt_encoder: Callable[[], PromptEncoder],
        store: Store,
    ) -> None:
        super().__init__(dataset)
        assert isinstance(config.method, AlgorithmMethod)
        assert not isinstance(config.prompts.templates, str)
        chosen = config.cluster.batch_size
        rows = {
            name: torch.from_numpy(array.copy()).to(denoiser.device)
            for name, array in conditioning.items()
        }
        self._config = config
        self._method = config.method
        self._bound = Bound(
            denoiser=denoiser,
            conditioning=rows,
            names=names,
            templates=config.prompts.templates,
            # Each row has its own x, so there is nothing to share.
            network=plain_rows(denoiser, rows, wrapper(denoiser, config.model.compile)),
            rows=UNMEASURED if chosen == "auto" else chosen,
            seed=config.seed,
            prompt_encoder=prompt_encoder,
            store=store,
        )
        self._algorithm: Algorithm = algorithm(self._bound, config.method)
        self._images = EncodedImages(denoiser, self._picture, with_pixels=True)
        self.batch_size = self._evaluations_per_batch()

    def _evaluations_per_batch(self) -> int:
        return evaluations_per_batch(self._config, self._bound.rows, len(self._bound.names))

    def _remembers(self, image: int) -> bool:
        return image in self._images

    def _prepare(self, position: int, item: WorkItem) -> _Part:
        encoded = self._images[item.image]
        assert encoded.pixels is not None
        image_id = self._dataset.records[item.image].image_id
        pixels = encoded.pixels.to(self._bound.denoiser.device)
        numbers = range(item.first_draw, item.first_draw + item.n_draws)
        unit = Unit(Sample(image_id, encoded.x_0, pixels), numbers, item.classes)
        return position, item, unit

    def _score_parts(self, parts: list[_Part]) -> tuple[dict[int, ItemScores | ImageFailure], int]:
        units = [unit for _, _, unit in parts]
        while True:
            try:
                scored = self._algorithm.score(units)
                break
            except torch.OutOfMemoryError:
                if self._bound.rows == 1:
                    raise
            self._halve()
        answers = {
            position: self._answer(scores)
            for (position, _, _), scores in zip(parts, scored, strict=True)
        }
        spent = sum(scores.n_evaluations for scores in scored)
        # Padding is rounded up to whole batches.
        return answers, -(-spent // self.batch_size) * self.batch_size

    def _answer(self, found: UnitScores) -> ItemScores | ImageFailure:
        if not np.isfinite(found.scores).all():
            return ImageFailure(
                f"the scores of {self._method.name} are not finite; try model.dtype: float32, a "
                "lower level of noise or, where it integrates, larger tolerances"
            )
        alpha, sigma = self._bound.denoiser.schedule.alpha_sigma(found.t)
        weight = np.full(len(found.t), found.weight)
        table = np.column_stack([found.t, alpha, sigma, weight])
        counted = found.n_evaluations if self._method.counted else None
        return ItemScores(found.scores, table, counted)

    def _halve(self) -> None:
        bound = self._bound
        del self._algorithm  # what it loaded is loaded again
        torch.cuda.empty_cache()  # outside the handler, whose traceback held tensors
        # Compiling another shape would take longer than a worker may be silent.
        network = plain_rows(bound.denoiser, bound.conditioning)
        self._bound = replace(bound, rows=bound.rows // 2, network=network)
        self._algorithm = algorithm(self._bound, self._method)
        self.batch_size = self._evaluations_per_batch()
        warnings.warn(
            f"out of memory: a worker goes on with batches of {self._bound.rows}, uncompiled",
            stacklevel=3,
        )
