"""Scores a micro-batch on a denoiser: what every worker of either shell does."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.data.base import ImageDataset
from zsd_ray.data.transforms import to_model_range, to_square
from zsd_ray.engine.classifier_scorer import ClassifierScorer
from zsd_ray.engine.micro_batch_scorer import MicroBatchScorer
from zsd_ray.methods.diffusion_classifier import DiffusionClassifier, Draws
from zsd_ray.models.base import Classifier, Conditioning, Denoiser
from zsd_ray.spec.config import MethodConfig, RunConfig
from zsd_ray.spec.errors import ImageError
from zsd_ray.spec.records import ImageFailure, ItemScores, WorkItem

_CACHE_BYTES = 256 << 20


def make_scorer(
    config: RunConfig,
    model: Denoiser | Classifier,
    dataset: ImageDataset,
    conditioning: Conditioning,
) -> MicroBatchScorer[Any]:
    """The scorer of a planned run's method, for the model that its family loads."""
    n_templates, batch_size = len(config.prompts.templates), config.cluster.batch_size
    if config.method.name == "classifier":
        classifier = cast(Classifier, model)
        return ClassifierScorer(classifier, dataset, conditioning, n_templates, batch_size)
    return Scorer(
        cast(Denoiser, model),
        dataset,
        conditioning,
        n_templates,
        config.method,
        config.seed,
        batch_size,
    )


@dataclass(frozen=True)
class _Part:
    """One item of a micro-batch, made ready on the CPU."""

    position: int
    item: WorkItem
    x_0: torch.Tensor
    draws: Draws


class Scorer(MicroBatchScorer[_Part]):
    """A denoiser bound to a data set and its prompts; keeps the images that it encoded last.

    Args:
        conditioning: n_classes * n_templates rows in each array, class-major.
        batch_size: rows of every forward; the last one is padded, so that the network sees one
            shape and a row's numbers do not depend on what is scored beside it.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        dataset: ImageDataset,
        conditioning: Conditioning,
        n_templates: int,
        method: MethodConfig,
        seed: int,
        batch_size: int,
    ) -> None:
        super().__init__(dataset)
        self._denoiser = denoiser
        # A copy: what an object store gives is read-only memory, and torch wants to own it.
        self._conditioning = {
            name: torch.from_numpy(rows.copy()).to(denoiser.device)
            for name, rows in conditioning.items()
        }
        self._n_templates = n_templates
        self._method = DiffusionClassifier(denoiser, method, seed)
        self.batch_size = batch_size
        self._cache: OrderedDict[int, torch.Tensor] = OrderedDict()
        self._cache_size = max(1, _CACHE_BYTES // (4 * int(np.prod(denoiser.sample_shape))))

    def _remembers(self, image: int) -> bool:
        return image in self._cache

    def _prepare(self, position: int, item: WorkItem) -> _Part:
        image_id = self._dataset.records[item.image].image_id
        numbers = range(item.first_draw, item.first_draw + item.n_draws)
        return _Part(
            position, item, self._encoded(item.image), self._method.draws(image_id, numbers)
        )

    def _encoded(self, image: int) -> torch.Tensor:
        """x_0 of an image, (C, H, W).

        Images are encoded one at a time: batched, their last bits would depend on their company.
        """
        if image in self._cache:
            self._cache.move_to_end(image)
            return self._cache[image]
        pixels = to_square(self._picture(image), self._denoiser.image_size)
        x_0 = self._denoiser.encode_images(torch.from_numpy(to_model_range(pixels[None])))[0]
        if not bool(torch.isfinite(x_0).all()):
            raise ImageError("the model encodes this image to values that are not finite")
        self._cache[image] = x_0
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return x_0

    def _score_parts(self, parts: list[_Part]) -> tuple[dict[int, ItemScores | ImageFailure], int]:
        errors, n_rows = self._errors(parts)
        return _split(parts, errors, self._n_templates), n_rows

    def _errors(self, parts: list[_Part]) -> tuple[NDArray[np.float32], int]:
        """The eps-errors of all rows of all parts, and how many rows the network saw."""
        device = self._denoiser.device
        schedule = self._denoiser.schedule

        def on_device(per_part: list[NDArray[np.float64]]) -> torch.Tensor:
            return torch.from_numpy(np.concatenate(per_part).astype(np.float32)).to(device)

        alpha = on_device([part.draws.alpha for part in parts])
        sigma = on_device([part.draws.sigma for part in parts])
        times = on_device([schedule.model_time(part.draws.t) for part in parts])
        eps = torch.from_numpy(np.concatenate([part.draws.eps for part in parts])).to(device)
        x_0 = torch.stack([part.x_0 for part in parts])

        which_part, which_draw, which_prompt = _rows(parts, self._n_templates)
        n = len(which_draw)
        padded = -(-n // self.batch_size) * self.batch_size
        pad = np.concatenate([np.arange(n), np.full(padded - n, n - 1)])
        part_rows, draw_rows, prompt_rows = (
            torch.from_numpy(rows[pad]).to(device)
            for rows in (which_part, which_draw, which_prompt)
        )
        out = []
        for start in range(0, padded, self.batch_size):
            rows = slice(start, start + self.batch_size)
            draw = draw_rows[rows]
            out.append(
                self._method.errors(
                    x_0[part_rows[rows]],
                    eps[draw],
                    alpha[draw],
                    sigma[draw],
                    times[draw],
                    {name: of[prompt_rows[rows]] for name, of in self._conditioning.items()},
                )
            )
        # The one place where the host waits for the device.
        return torch.cat(out)[:n].cpu().numpy(), padded


def _rows(parts: list[_Part], n_templates: int) -> tuple[NDArray[np.int64], ...]:
    """Of every row (draw-major, then class, then template): its part, its draw, its prompt."""
    part_rows, draw_rows, prompt_rows = [], [], []
    first_draw = 0
    for number, part in enumerate(parts):
        classes = np.asarray(part.item.classes, dtype=np.int64)
        prompts = (classes[:, None] * n_templates + np.arange(n_templates)).ravel()
        n_draws = part.item.n_draws
        part_rows.append(np.full(n_draws * len(prompts), number))
        draw_rows.append(np.repeat(np.arange(first_draw, first_draw + n_draws), len(prompts)))
        prompt_rows.append(np.tile(prompts, n_draws))
        first_draw += n_draws
    return np.concatenate(part_rows), np.concatenate(draw_rows), np.concatenate(prompt_rows)


def _split(
    parts: list[_Part], errors: NDArray[np.float32], n_templates: int
) -> dict[int, ItemScores | ImageFailure]:
    """Cut the rows back into items, averaged over templates."""
    answers: dict[int, ItemScores | ImageFailure] = {}
    start = 0
    for part in parts:
        shape = (part.item.n_draws, len(part.item.classes), n_templates)
        end = start + int(np.prod(shape))
        mean = errors[start:end].reshape(shape).mean(axis=2, dtype=np.float32)
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
