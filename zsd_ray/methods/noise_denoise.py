"""Noise an image, denoise it under each class's prompt, and take the nearest: Startsev & Singh,
Algorithms 3 and 4.

    class = argmin_k  E_eps[ d(x_0, DDIM(alpha_t x_0 + sigma_t eps, prompt_k)) ]

The paper leaves the sampler, its steps and the guidance open. Ours is deterministic DDIM from t
down to the clean image, so that classes share all noise there is; guidance (Ho & Salimans 2022) is
off unless asked for, for it moves every class away from the image. d is the mean squared difference
in the model's own space (`latent`), of pixels, or of normalised CLIP embeddings. Algorithm 4 does
the same at several levels, and lets each vote (rules/vote.py).
"""

from __future__ import annotations

import numpy as np
import torch

from zsd_ray.config.algorithms import NoiseDenoiseMethod, NoiseDenoiseVoteMethod
from zsd_ray.diffusion.ddim import denoise, grid
from zsd_ray.diffusion.schedule import Array
from zsd_ray.methods.class_rows import ClassRows, Index, Rows
from zsd_ray.methods.distance import make_distance
from zsd_ray.methods.method import Bound


class NoiseDenoise(ClassRows):
    """Noise-denoise as a method; draw i is at level i modulo their number."""

    def __init__(self, bound: Bound, config: NoiseDenoiseMethod | NoiseDenoiseVoteMethod) -> None:
        super().__init__(bound)
        self._config = config
        self._distance = make_distance(bound.denoiser, config, bound.store)

    def times(self, numbers: range) -> Array:
        levels = self._config.noise_levels
        t = np.array([levels[number % len(levels)] for number in numbers])
        return self.bound.denoiser.schedule.snap(t)

    def score_rows(self, rows: Rows) -> tuple[torch.Tensor, Index]:
        bound, config = self.bound, self._config
        alpha, sigma = bound.alpha_sigma(rows.t)
        x_t = alpha * rows.x_0 + sigma * rows.noise
        times = grid(bound.denoiser.schedule, rows.t, config.steps)

        def epsilon(x: torch.Tensor, t: Array) -> torch.Tensor:
            eps = bound.epsilon(x, t, rows.prompt)
            if not config.null_prompt:
                return eps
            null = bound.epsilon(x, t, torch.full_like(rows.prompt, bound.null))
            return null + config.guidance_scale * (eps - null)

        x_0 = denoise(epsilon, bound.denoiser.schedule, x_t, times)
        per_row, _ = config.evaluations(len(bound.names))
        return self._distance(x_0, rows), np.full(len(rows.t), per_row)
