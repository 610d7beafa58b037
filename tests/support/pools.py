"""Made-up score pools: what a denoiser would answer, as a function of (image, draw, class)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.draw_table import Draws
from zsd_ray.records.scores import ItemScores, MicroBatch, MicroBatchScores, WorkItem


class Pool:
    """Errors with noise that all classes share, and a gap for every class but one.

    errors(image, draw, class) is fixed by the seed; draws differ in weight.
    """

    def __init__(self, n_images: int, n_classes: int, n_draws: int, seed: int, gap: float = 0.3):
        rng = np.random.default_rng(seed)
        self.truth = rng.integers(n_classes, size=n_images)
        shared = rng.normal(1.0, 1.0, size=(n_images, n_draws, 1))
        own = rng.normal(0.0, 0.5, size=(n_images, n_draws, n_classes))
        gaps = gap * rng.uniform(0.1, 2.0, size=(n_images, 1, n_classes))
        gaps[np.arange(n_images), 0, self.truth] = 0.0
        self.errors: NDArray[np.float32] = (shared + own + gaps + 5.0).astype(np.float32)
        self.weights = rng.uniform(0.5, 1.5, size=(n_images, n_draws))

    def score(self, image: int, draw: int, class_: int) -> float:
        return float(self.weights[image, draw]) * float(self.errors[image, draw, class_])

    def answer(self, item: WorkItem) -> ItemScores:
        draws = slice(item.first_draw, item.first_draw + item.n_draws)
        errors = self.errors[item.image, draws][:, list(item.classes)]
        none = np.zeros(item.n_draws)
        drawn = Draws.of(none, none, none, self.weights[item.image, draws])
        return ItemScores(errors, drawn)

    def score_micro_batch(self, micro_batch: MicroBatch, seconds: float = 0.1) -> MicroBatchScores:
        answers = [self.answer(item) for item in micro_batch.items]
        return MicroBatchScores.pack(micro_batch.id, answers, micro_batch.n_scores, seconds)
