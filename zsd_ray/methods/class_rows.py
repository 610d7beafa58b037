"""Algorithms that score each (draw, class, template) separately: rows, in batches of one shape."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.diffusion import draws
from zsd_ray.diffusion.schedule import Array
from zsd_ray.methods.method import Bound, Method, Sample, Unit, UnitScores

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """B rows: the inputs of each.

    x_0, noise: (B, C, H, W) float32; t: (B,) float64; prompt: (B,) int64; samples: B.
    """

    x_0: torch.Tensor
    noise: torch.Tensor
    t: Array
    prompt: torch.Tensor
    samples: Sequence[Sample]


class ClassRows(Method):
    """Cuts units into rows and puts scores together again; a class's is the mean over templates."""

    weight = 1.0
    """Of every draw."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound

    @abstractmethod
    def times(self, numbers: range) -> Array:
        """Return t of draws, (n,) float64, times that the model knows."""

    @abstractmethod
    def score_rows(self, rows: Rows) -> tuple[torch.Tensor, Index]:
        """Return scores of rows, (B,) float32, and the evaluations of each, (B,)."""

    def noise(self, image_id: str, numbers: range) -> NDArray[np.float32]:
        """Return the noise of draws, (n, C, H, W), standard normal."""
        return draws.noise(self.bound.seed, image_id, numbers, self.bound.denoiser.sample_shape)

    def score(self, units: Sequence[Unit]) -> list[UnitScores]:
        n_templates = len(self.bound.templates)
        times = [self.times(unit.draws) for unit in units]
        noise = [self.noise(unit.sample.image_id, unit.draws) for unit in units]
        of_unit, of_draw, prompt = row_numbers(units, n_templates)
        scores, counts = [], []
        for mine in batches(len(prompt), self.bound.rows):
            pairs = list(zip(of_unit[mine].tolist(), of_draw[mine].tolist(), strict=True))
            device = self.bound.denoiser.device
            rows = Rows(
                x_0=torch.stack([units[unit].sample.x_0 for unit, _ in pairs]),
                noise=torch.from_numpy(np.stack([noise[u][d] for u, d in pairs])).to(device),
                t=np.array([times[unit][draw] for unit, draw in pairs]),
                prompt=torch.from_numpy(prompt[mine]).to(device),
                samples=[units[unit].sample for unit, _ in pairs],
            )
            of_rows, n_evaluations = self.score_rows(rows)
            scores.append(of_rows)
            counts.append(n_evaluations)
        # The only place where the host waits for the device.
        all_scores = torch.cat(scores)[: len(prompt)].cpu().numpy()
        all_counts = np.concatenate(counts)[: len(prompt)]
        sizes = [len(unit.draws) * len(unit.classes) * n_templates for unit in units]
        ends = np.cumsum(sizes)[:-1]
        return [
            UnitScores(
                part.reshape(len(unit.draws), len(unit.classes), n_templates).mean(
                    axis=2, dtype=np.float32
                ),
                self.bound.drawn(t, self.weight),
                int(counted.sum()),
            )
            for unit, part, counted, t in zip(
                units, np.split(all_scores, ends), np.split(all_counts, ends), times, strict=True
            )
        ]


def batches(n: int, size: int) -> list[Index]:
    """Yield the numbers of n rows in batches of `size`; the last is padded with its last row."""
    padded = np.minimum(np.arange(-(-n // size) * size), n - 1)
    return list(padded.reshape(-1, size))


def row_numbers(units: Sequence[Unit], n_templates: int) -> tuple[Index, Index, Index]:
    """Return the unit, draw and prompt of every row (by unit, then draw, class, template)."""
    parts: list[Any] = []
    for number, unit in enumerate(units):
        classes = np.asarray(unit.classes, dtype=np.int64)
        prompts = (classes[:, None] * n_templates + np.arange(n_templates)).ravel()
        n_draws = len(unit.draws)
        of_draw = np.repeat(np.arange(n_draws), len(prompts))
        parts.append((np.full(len(of_draw), number), of_draw, np.tile(prompts, n_draws)))
    of_unit, of_draw, prompt = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return of_unit, of_draw, prompt
