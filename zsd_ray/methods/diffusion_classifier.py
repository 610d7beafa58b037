"""The diffusion classifier: Clark & Jaini 2023, eq. 2; Li et al. 2023, eq. 6.

    class = argmin_k  E_{t, eps}[ w(t) |eps - eps_hat(alpha_t x_0 + sigma_t eps, t, prompt_k)|^p ]

with the same draws (t, eps) for every class of an image. Where t has another density than the
uniform one, w(t) is corrected for it, so that the mean stays this one. Only the network runs in the
model's dtype; schedule and weights are float64, noising and error float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.method import DiffusionClassifierMethod, TimeProfile
from zsd_ray.diffusion import draws
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.diffusion.schedule import Array
from zsd_ray.diffusion.time_density import (
    MEASURED_SHARE,
    USUAL_SHARE,
    TimeDensity,
    importance_density,
    profile_spread,
    usual_spread,
)
from zsd_ray.diffusion.time_range import snr, time_range
from zsd_ray.diffusion.weighting import weights
from zsd_ray.models.denoiser import Denoiser
from zsd_ray.models.rows import RowNetwork
from zsd_ray.records.errors import UserError

_PROBED = 2000  # times: more than a chain has steps


@dataclass(frozen=True)
class Draws:
    """Some draws of one image: t, alpha, sigma, weight (n,) float64, eps (n, C, H, W) float32."""

    t: Array
    alpha: Array
    sigma: Array
    weight: Array
    eps: NDArray[np.float32]


class DiffusionClassifier:
    """Scores rows; a row is one (image, draw, prompt).

    Args:
        network: the denoiser, bound to the prompts; another may take its place.

    Raises:
        UserError: the schedule has no such times, or the weighting is not finite at some.
    """

    def __init__(
        self, denoiser: Denoiser, network: RowNetwork, config: DiffusionClassifierMethod, seed: int
    ) -> None:
        self._denoiser = denoiser
        self.network = network
        self._config = config
        self._seed = seed
        try:
            self._times = low, high = time_range(denoiser.schedule, config)
        except ValueError as error:
            raise UserError(f"method.{error}") from error
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = self._weights(np.linspace(low, high, _PROBED))
        if not np.isfinite(weight).all():
            raise UserError(
                f"method.weighting {config.weighting} is not finite for all t in "
                f"[{low:g}, {high:g}] on this model's schedule; narrow t_range or snr_range"
            )
        self._density: TimeDensity | None = None
        if config.timesteps == "importance":
            self._density = self._importance(config.fitted)

    def draws(self, image_id: str, numbers: range) -> Draws:
        """Make the draws with these numbers; the same on every machine."""
        config, schedule = self._config, self._denoiser.schedule
        t = draws.times(
            self._seed,
            image_id,
            numbers,
            config.timesteps,
            self._times,
            grid_points=config.grid_points,
            grid_stages=config.grid_stages or (),
            density=self._density,
        )
        weight = self._weights(t)
        if self._density is not None:
            weight = weight * self._density.correction(t)
        t = schedule.snap(t)
        alpha, sigma = schedule.alpha_sigma(t)
        eps = draws.noise(self._seed, image_id, numbers, self._denoiser.sample_shape)
        return Draws(t, alpha, sigma, weight, eps)

    def _weights(self, t: Array) -> Array:
        """w at the times that the model has nearest to these."""
        schedule = self._denoiser.schedule
        return weights(schedule, schedule.snap(t), self._config, self._denoiser.parametrisation)

    def _importance(self, profile: TimeProfile | None) -> TimeDensity:
        if profile is not None:
            spread = partial(profile_spread, profile)
            return importance_density(
                self._times, self._weights, spread, MEASURED_SHARE, profile.edges
            )

        def usual(t: Array) -> Array:
            return usual_spread(snr(self._denoiser.schedule, t))

        return importance_density(self._times, self._weights, usual, USUAL_SHARE)

    def errors(
        self,
        x_0: torch.Tensor,
        eps: torch.Tensor,
        alpha: torch.Tensor,
        sigma: torch.Tensor,
        time: torch.Tensor,
        draw: torch.Tensor,
        prompt: torch.Tensor,
    ) -> torch.Tensor:
        """Return the eps-error of B rows, (B,) float32: mean |eps - eps_hat|^p over elements.

        Args:
            x_0, eps: of U draws, (U, C, H, W) float32.
            alpha, sigma, time: (U,) float32; time as the network takes it.
            draw, prompt: (B,) int64, which draw and which prompt each row is of.
        """
        alpha, sigma = alpha[:, None, None, None], sigma[:, None, None, None]
        x_t = alpha * x_0 + sigma * eps
        output = self.network(x_t, time, draw, prompt)
        eps_hat = to_epsilon(
            output, x_t[draw], alpha[draw], sigma[draw], self._denoiser.parametrisation
        )
        gap = eps[draw] - eps_hat
        error = gap.abs() if self._config.loss == "l1" else gap.square()
        return error.mean(dim=(1, 2, 3))
