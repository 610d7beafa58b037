"""EDM (Karras et al. 2022): a U-Net over pixels, preconditioned at every noise level.

The network F sees inputs and targets of unit variance; the denoised image is put together from it
(their eq. 7 and table 1):

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)

with s = sigma_data:  c_skip = s^2 / (sigma^2 + s^2),  c_out = sigma s / sqrt(sigma^2 + s^2),
c_in = 1 / sqrt(sigma^2 + s^2),  c_noise = ln(sigma) / 4. Models of `v_prediction` have the
opposite sign of F.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.told_labels import ToldLabels
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.pixel_unet import PixelUNet
from zsd_ray.models.samplers import scheduler_file


class EDM(PixelUNet):
    """A `Denoiser` that returns the denoised image.

    The schedule is the ramp of Karras et al., eq. 5, even if the pipeline's sampler steps
    through the same noise levels on a ramp of its own (`sigma_schedule: exponential`).
    """

    def __init__(self, unet: Any, folder: Path, config: ModelConfig, device: torch.device) -> None:
        super().__init__(unet, folder, config, device)
        scheduler = read_object(scheduler_file(folder))
        self._sigma_data = float(scheduler["sigma_data"])
        self._sign = -1.0 if scheduler.get("prediction_type") == "v_prediction" else 1.0

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        sigma = time_B[:, None, None, None]
        variance = sigma**2 + self._sigma_data**2
        output = self._forward(x_BCHW * variance.rsqrt(), time_B.log() / 4, conditioning)
        skip = self._sigma_data**2 / variance
        return skip * x_BCHW + self._sign * sigma * self._sigma_data * variance.rsqrt() * output


class EDMAdapter(ToldLabels):
    """Loads EDM."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> EDM:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return EDM.load(folder, config, device)
