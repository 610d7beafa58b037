"""DDPM (Ho et al. 2020) and Improved DDPM (Nichol & Dhariwal 2021): a U-Net over pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.told_labels import ToldLabels
from zsd_ray.models.pixel_unet import PixelUNet


class DDPM(PixelUNet):
    """A `Denoiser` over a UNet2DModel with a chain of discrete steps."""

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        return self._forward(x_BCHW, time_B, conditioning)


class DDPMAdapter(ToldLabels):
    """Loads DDPM and Improved DDPM."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> DDPM:
        """Load a checked pipeline folder (see `registry.resolve_model`).

        An unconditional model is loaded too: its `predict` takes an empty conditioning.
        """
        return DDPM.load(folder, config, device)
