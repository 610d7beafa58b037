"""Invert an image under each class's prompt, and find the outlying latent: Startsev & Singh,
Algorithm 2.

    z_k = DDIM^-1(x_0, prompt_k)        d_k = mean of the n least ||z_k - z_j||, j != k

The pseudocode takes the class of least d_k, and the text argues for the outlier, of the largest:
`choose` has both. With n = 1 two classes are each other's nearest, so that the nearest is always a
tie of these; the one of the smaller number wins.

The paper leaves the steps, the level that they lead to, n, and several templates open. Ours are
even steps of time (diffusion/ddim.py). With several templates z_k is the mean of their latents, so
that a class is one point, as in the algorithm, and its neighbours are classes. Nothing is random:
further draws would be the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from zsd_ray.config.algorithms import DdimKnnMethod
from zsd_ray.diffusion.ddim import grid, invert
from zsd_ray.diffusion.schedule import Array
from zsd_ray.methods.class_rows import batches, row_numbers
from zsd_ray.methods.method import Bound, Method, Unit, UnitScores


class DdimKnn(Method):
    """One draw, whose classes are scored together."""

    def __init__(self, bound: Bound, config: DdimKnnMethod) -> None:
        self._bound = bound
        self._config = config
        self._t = bound.denoiser.schedule.snap(np.array([config.level]))

    def score(self, units: Sequence[Unit]) -> list[UnitScores]:
        n_templates = len(self._bound.templates)
        return [
            UnitScores(
                scores=self._scores(latents).cpu().numpy()[None],
                draws=self._bound.drawn(self._t),
                n_evaluations=len(latents) * n_templates * self._config.steps,
            )
            for latents in self._latents(units)
        ]

    def _latents(self, units: Sequence[Unit]) -> list[torch.Tensor]:
        """Return z of every class of each unit, (k, C, H, W) float32."""
        n_templates = len(self._bound.templates)
        of_unit, _, prompt = row_numbers(units, n_templates)
        sizes = [len(unit.classes) for unit in units]
        shape = self._bound.denoiser.sample_shape
        totals = torch.zeros(sum(sizes), *shape, device=self._bound.denoiser.device)
        for mine in batches(len(prompt), self._bound.rows):
            x_0 = torch.stack([units[unit].sample.x_0 for unit in of_unit[mine].tolist()])
            latents = self._invert(x_0, torch.from_numpy(prompt[mine]).to(x_0.device))
            # Row by row, without the padding: a sum in another order has other bits.
            for row, latent in zip(np.unique(mine).tolist(), latents, strict=False):
                totals[row // n_templates] += latent
        return list(torch.split(totals / n_templates, sizes))

    def _invert(self, x_0: torch.Tensor, prompt_B: torch.Tensor) -> torch.Tensor:
        schedule = self._bound.denoiser.schedule
        times = grid(schedule, np.repeat(self._t, len(x_0)), self._config.steps)

        def epsilon(x: torch.Tensor, t: Array) -> torch.Tensor:
            return self._bound.epsilon(x, t, prompt_B)

        return invert(epsilon, schedule, x_0, times)

    def _scores(self, latents_kCHW: torch.Tensor) -> torch.Tensor:
        """Return the scores, (k,) float32; 0 for a single class."""
        n_others = len(latents_kCHW) - 1
        if n_others == 0:
            return latents_kCHW.new_zeros(1)
        points = latents_kCHW.flatten(1)
        # With matrix products, differences of nearly equal latents would be rounding errors.
        distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
        distances.fill_diagonal_(torch.inf)
        nearest = distances.topk(min(self._config.neighbours, n_others), largest=False).values
        mean = nearest.mean(dim=1)
        return mean if self._config.choose == "nearest" else -mean
