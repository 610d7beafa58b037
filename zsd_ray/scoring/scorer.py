"""Scores a micro-batch on a denoiser: what every worker of either shell does."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.algorithms import AlgorithmMethod
from zsd_ray.config.method import DiffusionClassifierMethod
from zsd_ray.config.run import RunConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.methods.diffusion_classifier import DiffusionClassifier, Draws
from zsd_ray.models.denoiser import Classifier, Conditioning, Denoiser, PromptEncoder
from zsd_ray.models.rows import RowNetwork, row_network
from zsd_ray.records.scores import ImageFailure, ItemScores, MicroBatch, WorkItem
from zsd_ray.scoring.algorithm_scorer import AlgorithmScorer
from zsd_ray.scoring.batch_size import automatic
from zsd_ray.scoring.classifier_scorer import ClassifierScorer
from zsd_ray.scoring.copies import Copies
from zsd_ray.scoring.cost import UNMEASURED
from zsd_ray.scoring.encoded_images import EncodedImages
from zsd_ray.scoring.micro_batch_scorer import MicroBatchScorer

Bind = Callable[[Denoiser, Mapping[str, torch.Tensor], bool | None], RowNetwork]


def make_scorer(
    config: RunConfig,
    model: Denoiser | Classifier,
    dataset: ImageDataset,
    conditioning: Conditioning,
    names: Sequence[str],
    load_prompt_encoder: Callable[[], PromptEncoder],
) -> MicroBatchScorer[Any]:
    """The scorer of a planned run's method, for its model and classes.

    Args:
        load_prompt_encoder: called at most once, where the method needs what encodes prompts.
    """
    if isinstance(config.method, AlgorithmMethod):
        return AlgorithmScorer(
            config,
            cast(Denoiser, model),
            dataset,
            conditioning,
            names,
            cache(load_prompt_encoder),
        )
    n_templates, batch_size = len(config.prompts.templates), config.cluster.batch_size
    if config.method.name == "classifier":
        classifier = cast(Classifier, model)
        batch_size = UNMEASURED if batch_size == "auto" else batch_size
        return ClassifierScorer(classifier, dataset, conditioning, n_templates, batch_size)
    return Scorer(
        cast(Denoiser, model),
        dataset,
        conditioning,
        n_templates,
        config.method,
        config.seed,
        batch_size,
        config.model.compile,
        gpu_share=min(1.0, config.cluster.gpus_per_worker or 1.0),
    )


@dataclass(frozen=True)
class _Part:
    """One item of a micro-batch; x_0 and the draws' noise are on the device, or on their way."""

    position: int
    item: WorkItem
    x_0: torch.Tensor
    draws: Draws
    eps: torch.Tensor


class Scorer(MicroBatchScorer[_Part]):
    """A denoiser bound to a data set and its prompts; keeps the images that it encoded last.

    Args:
        conditioning: n_classes * n_templates rows in each array, class-major; one more, last, of
            the empty prompt, where the method normalises by it.
        batch_size: rows of every forward; the last one is padded, so that the network sees one
            shape and a row's numbers do not depend on what is scored beside it. "auto": measured.
            It is halved where memory runs out.
        compile: as `row_network` takes it.
        bind: makes the denoiser a network over rows.
        gpu_share: of its GPU that this worker has, for what is measured.

    Raises:
        UserError: the weighting is not finite on these times.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        dataset: ImageDataset,
        conditioning: Conditioning,
        n_templates: int,
        method: DiffusionClassifierMethod,
        seed: int,
        batch_size: int | Literal["auto"],
        compile: bool | None,
        bind: Bind = row_network,
        gpu_share: float = 1.0,
    ) -> None:
        super().__init__(dataset)
        self._denoiser = denoiser
        # A copy: what an object store gives is read-only memory, and torch wants to own it.
        self._rows = {
            name: torch.from_numpy(rows.copy()).to(denoiser.device)
            for name, rows in conditioning.items()
        }
        self._n_templates = n_templates
        n_prompts = len(next(iter(conditioning.values())))
        self._null = n_prompts - 1 if method.normaliser == "null-prompt" else None
        self._bind = bind
        # Measured uncompiled: compiling takes minutes for each size.
        network = bind(denoiser, self._rows, False if batch_size == "auto" else compile)
        self._method = DiffusionClassifier(denoiser, network, method, seed)
        self.batch_size = batch_size if batch_size != "auto" else self._automatic(gpu_share)
        if batch_size == "auto":
            self._method.network = bind(denoiser, self._rows, compile)
        self._copies = Copies(denoiser.device)
        # Ahead of their micro-batch, with the noise on the device.
        self._drawn: dict[WorkItem, tuple[Draws, torch.Tensor]] = {}
        self._images = EncodedImages(denoiser, self._picture)

    def read_ahead(self, micro_batch: MicroBatch) -> None:
        """Also make its draws and send them to the device: for large latents that takes as long as
        many evaluations."""
        super().read_ahead(micro_batch)
        for item in micro_batch.items:
            self._drawn[item] = self._draws(item)

    def _forget(self, item: WorkItem) -> None:
        super()._forget(item)
        self._drawn.pop(item, None)  # its image failed

    def _remembers(self, image: int) -> bool:
        return image in self._images

    def _prepare(self, position: int, item: WorkItem) -> _Part:
        draws, eps = self._drawn.get(item) or self._draws(item)
        return _Part(position, item, self._images[item.image].x_0, draws, eps)

    def _draws(self, item: WorkItem) -> tuple[Draws, torch.Tensor]:
        image_id = self._dataset.records[item.image].image_id
        numbers = range(item.first_draw, item.first_draw + item.n_draws)
        draws = self._method.draws(image_id, numbers)
        return draws, self._copies.send(draws.eps)

    def _score_parts(self, parts: list[_Part]) -> tuple[dict[int, ItemScores | ImageFailure], int]:
        while True:
            try:
                errors, n_rows = self._errors(parts)
                return _split(parts, errors, self._n_templates, self._null), n_rows
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size //= 2
                warnings.warn(
                    "out of memory: a worker goes on with batches of "
                    f"{self.batch_size}, uncompiled",
                    stacklevel=2,
                )
            torch.cuda.empty_cache()  # outside the handler, whose traceback holds tensors
            # Compiling another shape would take longer than a worker may be silent.
            self._method.network = self._bind(self._denoiser, self._rows, False)

    def _automatic(self, gpu_share: float) -> int:
        device, shape = self._denoiser.device, self._denoiser.sample_shape
        # What is allocated by now tells networks, their dtypes and kept prompts apart.
        taken = torch.cuda.memory_allocated(device) >> 26 if device.type == "cuda" else 0
        kind = f"{type(self._denoiser).__name__} {shape} {taken}"

        def seconds(n_rows: int) -> float:
            """Of the second of two batches in which every draw has few classes left."""
            n_draws = -(-n_rows // 4)
            x = torch.randn(n_draws, *shape, device=device)
            one = torch.full((n_draws,), 0.5, device=device)
            draw = torch.arange(n_rows, device=device) // 4
            for _ in range(2):
                start = time.perf_counter()
                self._method.errors(x, x, one, one, one, draw, torch.zeros_like(draw)).cpu()
            return time.perf_counter() - start

        with torch.no_grad():
            return automatic(seconds, device, kind, gpu_share)

    def _errors(self, parts: list[_Part]) -> tuple[NDArray[np.float32], int]:
        """The eps-errors of all rows of all parts, and how many rows the network saw."""
        device = self._denoiser.device
        schedule = self._denoiser.schedule

        def on_device(per_part: list[NDArray[np.float64]]) -> torch.Tensor:
            return torch.from_numpy(np.concatenate(per_part).astype(np.float32)).to(device)

        alpha = on_device([part.draws.alpha for part in parts])
        sigma = on_device([part.draws.sigma for part in parts])
        times = on_device([schedule.model_time(part.draws.t) for part in parts])
        self._copies.arrived([part.eps for part in parts])
        eps = torch.cat([part.eps for part in parts])
        x_0 = torch.stack([part.x_0 for part in parts])

        part_of_draw = np.repeat(np.arange(len(parts)), [part.item.n_draws for part in parts])
        parts_of_draws = torch.from_numpy(part_of_draw).to(device)

        which_draw, which_prompt = _rows(parts, self._n_templates, self._null)
        n = len(which_draw)
        padded = -(-n // self.batch_size) * self.batch_size
        pad = np.concatenate([np.arange(n), np.full(padded - n, n - 1)])
        which_draw = which_draw[pad]
        draw_rows = torch.from_numpy(which_draw).to(device)
        prompt_rows = torch.from_numpy(which_prompt[pad]).to(device)
        out = []
        for start in range(0, padded, self.batch_size):
            rows = slice(start, start + self.batch_size)
            # Rows are in the order of draws, so those of a batch follow each other.
            first, last = which_draw[rows][[0, -1]].tolist()
            mine = slice(first, last + 1)
            out.append(
                self._method.errors(
                    x_0[parts_of_draws[mine]],
                    eps[mine],
                    alpha[mine],
                    sigma[mine],
                    times[mine],
                    draw_rows[rows] - first,
                    prompt_rows[rows],
                )
            )
        # The first place, since the rows were sent, where the host waits for the device.
        return torch.cat(out)[:n].cpu().numpy(), padded


def _rows(parts: list[_Part], n_templates: int, null: int | None) -> tuple[NDArray[np.int64], ...]:
    """Of every row (draw-major, then class, then template; last the null prompt's): its draw and
    its prompt."""
    draw_rows, prompt_rows = [], []
    first_draw = 0
    for part in parts:
        classes = np.asarray(part.item.classes, dtype=np.int64)
        prompts = (classes[:, None] * n_templates + np.arange(n_templates)).ravel()
        if null is not None:
            prompts = np.append(prompts, null)
        n_draws = part.item.n_draws
        draw_rows.append(np.repeat(np.arange(first_draw, first_draw + n_draws), len(prompts)))
        prompt_rows.append(np.tile(prompts, n_draws))
        first_draw += n_draws
    return np.concatenate(draw_rows), np.concatenate(prompt_rows)


def _split(
    parts: list[_Part], errors: NDArray[np.float32], n_templates: int, null: int | None
) -> dict[int, ItemScores | ImageFailure]:
    """Cut the rows back into items, averaged over templates, less the null prompt's error.

    What is subtracted is the same for all classes of a draw: it changes no difference between them,
    and so no decision (but for rounding), and lets images be compared by their scores.
    """
    answers: dict[int, ItemScores | ImageFailure] = {}
    start = 0
    for part in parts:
        n_draws, n_rows = part.item.n_draws, len(part.item.classes) * n_templates
        end = start + n_draws * (n_rows + (null is not None))
        rows = errors[start:end].reshape(n_draws, -1)
        mean = rows[:, :n_rows].reshape(n_draws, -1, n_templates).mean(axis=2, dtype=np.float32)
        if null is not None:
            mean -= rows[:, n_rows:]
        start = end
        draws = part.draws
        if np.isfinite(mean).all():
            table = np.column_stack([draws.t, draws.alpha, draws.sigma, draws.weight])
            answers[part.position] = ItemScores(mean, table)
        else:
            answers[part.position] = ImageFailure(
                "the model's error is not finite; try model.dtype: float32"
            )
    return answers
