"""diffusers' schedulers as samplers, set up by the model folder's own scheduler configuration.

They walk over the model's own time and scale of x, which for a chain of steps and for flow matching
are also ours, so that they call `Denoiser.predict` directly. EDM's walk over the network inside the
preconditioning, which our adapter does not show, and a custom model has no configuration.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zsd_ray.diffusion.sampling import Predict
from zsd_ray.models.denoiser import Denoiser
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.registry import ResolvedModel
from zsd_ray.models.samplers import scheduler_file

_PATCH_SIZE = 2
"""Of the transformers that shift their times with the number of patches."""


class LibrarySampler:
    """A diffusers scheduler, checked by `samplers.check_sampler`, with a number of steps."""

    def __init__(self, model: ResolvedModel, denoiser: Denoiser, name: str, n_steps: int) -> None:
        import diffusers

        settings = read_object(scheduler_file(model.folder))
        # `predict` leaves out the channels of a learned variance.
        settings.pop("variance_type", None)
        self._scheduler: Any = getattr(diffusers, name).from_config(settings)
        self._denoiser = denoiser
        self._options: dict[str, Any] = {"num_inference_steps": n_steps}
        if (
            model.config.family == "flux"
        ):  # as its pipeline does, whatever the scheduler's own times are
            self._options["sigmas"] = np.linspace(1.0, 1 / n_steps, n_steps)
        if self._scheduler.config.get("use_dynamic_shifting"):
            self._options["mu"] = _shift(self._scheduler.config, denoiser.sample_shape)
        self._random = "generator" in inspect.signature(self._scheduler.step).parameters

    @property
    def n_evaluations(self) -> int:
        """Return the number of forwards per row: schedulers of second order need two per step."""
        self._reset()
        return len(self._scheduler.timesteps)

    def sample(
        self, predict: Predict, noise_BCHW: torch.Tensor, seeds: Sequence[int]
    ) -> torch.Tensor:
        """Sample x_0 from N(0, I), (B, C, H, W) float32.

        Args:
            seeds: for the noise of each row's steps, made on the CPU.
        """
        self._reset()
        keys: dict[str, Any] = {}
        if self._random:
            keys["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
        scheduler, n_rows = self._scheduler, len(noise_BCHW)
        x = noise_BCHW * float(getattr(scheduler, "init_noise_sigma", 1.0))
        for step in scheduler.timesteps:
            scaled = x
            if hasattr(scheduler, "scale_model_input"):
                scaled = scheduler.scale_model_input(x, step)
            time_B = torch.full((n_rows,), self._model_time(float(step)), device=x.device)
            output = predict(scaled.float(), time_B)
            x = scheduler.step(output, step, x, return_dict=False, **keys)[0]
        return x.float()

    def _reset(self) -> None:
        self._scheduler.set_timesteps(device=self._denoiser.device, **self._options)

    def _model_time(self, step: float) -> float:
        """Convert to the model's time: a chain's may lie between two steps, a flow's is a share of
        all."""
        if self._denoiser.parametrisation != "flow":
            return step
        t = step / self._scheduler.config.num_train_timesteps
        return float(self._denoiser.schedule.model_time(np.array([t]))[0])


def _shift(settings: Any, sample_shape: tuple[int, int, int]) -> float:
    """Return mu, linear in the number of patches: the shift of times to more noise, as in the
    library's pipelines (Esser et al. 2024, section 5.3.2)."""
    n_patches = sample_shape[1] * sample_shape[2] // _PATCH_SIZE**2
    sizes = settings["base_image_seq_len"], settings["max_image_seq_len"]
    shifts = settings["base_shift"], settings["max_shift"]
    slope = (shifts[1] - shifts[0]) / (sizes[1] - sizes[0])
    return float(shifts[0] + slope * (n_patches - sizes[0]))
