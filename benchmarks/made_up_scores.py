"""Made-up scores with the structure of real ones, cut from tables: cheap beside the engine.

A score is weight(draw) * (noise of the draw, shared by all classes + noise of the class + gap of
the class). Gaps grow with a class's rank, so few classes are near the best and many are far; images
differ in how far. `t` and the weight of a draw follow a bump in the middle of t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsd_ray.records.draw_table import Draws
from zsd_ray.records.scores import ImageRecord, ItemScores, MicroBatch, MicroBatchScores, WorkItem
from zsd_ray.rules.clark_jaini import ClarkJaini
from zsd_ray.rules.rule import Rule

_PROFILES = 509  # prime, so that an image's profile and its offsets into the noise do not go along


@dataclass(frozen=True)
class Workload:
    """A data set under the paper's rule.

    The class of rank k lies gap * k**growth above the best, in units of a class's own noise; images
    vary by a factor exp(spread * normal).
    """

    name: str
    n_images: int
    n_classes: int
    gap: float
    growth: float
    spread: float
    evaluations_expected: float  # an image; only to plan how often nodes are lost

    @staticmethod
    def rule() -> Rule:
        return ClarkJaini(min_scores=20, max_scores=2000, p_value=2e-3)


WORKLOADS = {
    "imagenet": Workload("imagenet", 50_000, 1_000, 0.20, 0.40, 0.45, 25_000),
    "cifar10": Workload("cifar10", 10_000, 10, 0.90, 0.40, 0.60, 400),
}


class ScoreTable:
    """What a denoiser would answer, as a function of (image, draw, class)."""

    def __init__(self, workload: Workload, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._n_classes = n_classes = workload.n_classes
        self._n_draws = n_draws = workload.rule().max_draws
        # Twice as long and wide as an image needs: each image starts at an offset of its own.
        shared = rng.normal(10.0, 3.0, size=(2 * n_draws, 1)).astype(np.float32)
        self._noise = rng.standard_normal((2 * n_draws, 2 * n_classes), dtype=np.float32) + shared
        t = rng.uniform(0.02, 0.98, size=2 * n_draws)
        weight = 0.2 + np.sin(np.pi * t) ** 2
        self._draws = Draws.of(t, np.sqrt(1 - t), np.sqrt(t), weight)
        by_rank = workload.gap * np.arange(n_classes) ** workload.growth
        scale = np.exp(workload.spread * rng.standard_normal((_PROFILES, 1)))
        gaps = rng.permuted(scale * by_rank, axis=1)
        self._truth = gaps.argmin(axis=1)
        self._gaps = np.tile(gaps, 2).astype(np.float32)

    def records(self, n_images: int) -> list[ImageRecord]:
        return [ImageRecord(f"{n:08d}", "made up", self._label(n)) for n in range(n_images)]

    def score(self, micro_batch: MicroBatch, n_rows: int, seconds: float) -> MicroBatchScores:
        answers = [self._answer(item) for item in micro_batch.items]
        return MicroBatchScores.pack(micro_batch.id, answers, n_rows, seconds)

    def _answer(self, item: WorkItem) -> ItemScores:
        first = item.image * 7919 % self._n_draws + item.first_draw
        draws = slice(first, first + item.n_draws)
        shift = self._shift(item.image)
        classes = item.classes
        start, end = classes[0] + shift, classes[-1] + shift + 1
        noise, gaps = self._noise[draws, start:end], self._gaps[item.image % _PROFILES, start:end]
        if end - start > len(classes):
            columns = np.asarray(classes) - classes[0]
            noise, gaps = noise[:, columns], gaps[columns]
        return ItemScores(noise + gaps, self._draws[draws])

    def _shift(self, image: int) -> int:
        return image * 104_729 % self._n_classes

    def _label(self, image: int) -> int:
        return int((self._truth[image % _PROFILES] - self._shift(image)) % self._n_classes)
