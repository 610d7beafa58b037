"""The diffusion classifier: Clark & Jaini 2023, eq. 2; Li et al. 2023, eq. 6.

    class = argmin_k  E_{t, eps}[ w(t) |eps - eps_hat(alpha_t x_0 + sigma_t eps, t, prompt_k)|^p ]

with the same draws (t, eps) for every class of an image. Where t has another density than the
uniform one, w(t) is corrected for it, so that the mean stays this one. Only the network runs in the
model's dtype; schedule and weights are float64, noising and error float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.time_profile import TimeProfile
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
from zsd_ray.methods.copies import Copies
from zsd_ray.methods.method import Bound, Method, Unit, UnitScores
from zsd_ray.records.draw_table import Draws
from zsd_ray.records.errors import UserError

_PROBED = 2000  # times: more than a chain has steps


@dataclass(frozen=True)
class Noise:
    """The noise of some draws of one image: the draws, and eps (n, C, H, W) float32, on the
    device or being copied there."""

    draws: Draws
    eps: torch.Tensor


class DiffusionClassifier(Method):
    """Scores rows; a row is one (image, draw, prompt).

    Raises:
        UserError: the schedule has no such times, or the weighting is not finite at some.
    """

    shares_draws = True
    takes_pixels = False

    def __init__(self, bound: Bound, config: DiffusionClassifierMethod) -> None:
        self._bound = bound
        self._denoiser = denoiser = bound.denoiser
        self._config = config
        self._null = bound.null if config.null_prompt else None
        self._copies = Copies(denoiser.device)
        self._ahead: dict[tuple[str, range], Noise] = {}
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

    def ahead(self, image_id: str, numbers: range) -> None:
        """Make draws, and start copying their noise to the device, which for large latents takes
        as long as many evaluations."""
        self._ahead[image_id, numbers] = self.noise(image_id, numbers)

    def forget(self, image_id: str, numbers: range) -> None:
        self._ahead.pop((image_id, numbers), None)

    def noise(self, image_id: str, numbers: range) -> Noise:
        """Make the draws with these numbers; the same on every machine."""
        config, schedule, seed = self._config, self._denoiser.schedule, self._bound.seed
        t = draws.times(
            seed,
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
        eps = draws.noise(seed, image_id, numbers, self._denoiser.sample_shape)
        return Noise(self._bound.drawn(schedule.snap(t), weight), self._copies.send(eps))

    def score(self, units: Sequence[Unit]) -> list[UnitScores]:
        noises = [
            self._ahead.get((unit.sample.image_id, unit.draws))
            or self.noise(unit.sample.image_id, unit.draws)
            for unit in units
        ]
        return self._split(units, noises, self._all_errors(units, noises))

    def _all_errors(self, units: Sequence[Unit], noises: Sequence[Noise]) -> NDArray[np.float32]:
        """Return the eps-errors of all rows of all units."""
        device, schedule, size = self._denoiser.device, self._denoiser.schedule, self._bound.rows

        def on_device(per_unit: list[NDArray[np.float64]]) -> torch.Tensor:
            return torch.from_numpy(np.concatenate(per_unit).astype(np.float32)).to(device)

        alpha = on_device([noise.draws.alpha for noise in noises])
        sigma = on_device([noise.draws.sigma for noise in noises])
        times = on_device([schedule.model_time(noise.draws.t) for noise in noises])
        self._copies.arrived([noise.eps for noise in noises])
        eps = torch.cat([noise.eps for noise in noises])
        x_0 = torch.stack([unit.sample.x_0 for unit in units])

        unit_of_draw = np.repeat(np.arange(len(units)), [len(unit.draws) for unit in units])
        unit_of_draw_on_device = torch.from_numpy(unit_of_draw).to(device)
        which_draw, which_prompt = self._rows(units)
        n = len(which_draw)
        padded = -(-n // size) * size
        pad = np.concatenate([np.arange(n), np.full(padded - n, n - 1)])
        which_draw = which_draw[pad]
        draw_rows = torch.from_numpy(which_draw).to(device)
        prompt_rows = torch.from_numpy(which_prompt[pad]).to(device)
        out = []
        for start in range(0, padded, size):
            rows = slice(start, start + size)
            # Rows are in the order of draws, so those of a batch follow each other.
            first, last = which_draw[rows][[0, -1]].tolist()
            mine = slice(first, last + 1)
            out.append(
                self.errors(
                    x_0[unit_of_draw_on_device[mine]],
                    eps[mine],
                    alpha[mine],
                    sigma[mine],
                    times[mine],
                    draw_rows[rows] - first,
                    prompt_rows[rows],
                )
            )
        # The first place, since the rows were sent, where the host waits for the device.
        return torch.cat(out)[:n].cpu().numpy()

    def _rows(self, units: Sequence[Unit]) -> tuple[NDArray[np.int64], ...]:
        """Return the draw and the prompt of every row: draw-major, then class, then template; the
        null prompt's row comes last in each draw."""
        n_templates = len(self._bound.templates)
        draw_rows, prompt_rows = [], []
        first_draw = 0
        for unit in units:
            classes = np.asarray(unit.classes, dtype=np.int64)
            prompts = (classes[:, None] * n_templates + np.arange(n_templates)).ravel()
            if self._null is not None:
                prompts = np.append(prompts, self._null)
            n_draws = len(unit.draws)
            draw_rows.append(np.repeat(np.arange(first_draw, first_draw + n_draws), len(prompts)))
            prompt_rows.append(np.tile(prompts, n_draws))
            first_draw += n_draws
        return np.concatenate(draw_rows), np.concatenate(prompt_rows)

    def _split(
        self, units: Sequence[Unit], noises: Sequence[Noise], errors: NDArray[np.float32]
    ) -> list[UnitScores]:
        """Cut the rows back into units, averaged over templates, less the null prompt's error.

        The subtracted error is the same for all classes of a draw: it changes no difference between
        them, so no decision (except by rounding), and makes scores of images comparable.
        """
        n_templates = len(self._bound.templates)
        found, start = [], 0
        for unit, noise in zip(units, noises, strict=True):
            n_draws, n_rows = len(unit.draws), len(unit.classes) * n_templates
            end = start + n_draws * (n_rows + (self._null is not None))
            rows = errors[start:end].reshape(n_draws, -1)
            mean = rows[:, :n_rows].reshape(n_draws, -1, n_templates).mean(axis=2, dtype=np.float32)
            if self._null is not None:
                mean -= rows[:, n_rows:]
            found.append(UnitScores(mean, noise.draws, end - start))
            start = end
        return found

    def _weights(self, t: Array) -> Array:
        """Return w at the model's times nearest to these."""
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
        output = self._bound.network(x_t, time, draw, prompt)
        eps_hat = to_epsilon(
            output, x_t[draw], alpha[draw], sigma[draw], self._denoiser.parametrisation
        )
        gap = eps[draw] - eps_hat
        error = gap.abs() if self._config.loss == "l1" else gap.square()
        return error.mean(dim=(1, 2, 3))
