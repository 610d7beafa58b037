"""DDPM (Ho et al. 2020) and Improved DDPM (Nichol & Dhariwal 2021): a U-Net over pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.labels import labels_or_null
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.latents import in_three_channels
from zsd_ray.models.pixel_unet import PixelUNet
from zsd_ray.models.schedules import folder_schedule


class DDPM:
    """A `Denoiser` over a UNet2DModel with a chain of discrete steps."""

    def __init__(self, unet: PixelUNet, folder: Path) -> None:
        self._unet = unet
        self.device = unet.device
        self.image_size = unet.image_size
        self.sample_shape = unet.sample_shape
        self.schedule, self.parametrisation = folder_schedule(folder)

    @torch.inference_mode()
    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        return self._unet.encode(images_B3HW)

    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return in_three_channels(x_BCHW)

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        return self._unet(x_BCHW, time_B, conditioning)

    def features(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        with self._unet.block_features() as found:
            self.predict(x_BCHW, time_B, conditioning)
        return found


def load(folder: Path, config: ModelConfig, device: torch.device) -> DDPM:
    """Load a checked pipeline folder (see `registry.check_model`).

    An unconditional model is loaded too: its `predict` takes an empty conditioning.
    """
    return DDPM(PixelUNet.load(folder, config, device), folder)


def encode_prompts(
    folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
) -> Conditioning:
    """`labels`: the label of each name, (N,) int64; the empty name is the null label's."""
    return {"labels": labels_or_null(folder, config, prompts)}
