"""diffusers' UNet2DModel over pixels, class-conditional or not: common to DDPM and EDM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.network_denoiser import PixelDenoiser
from zsd_ray.records.errors import UserError


class PixelUNet(PixelDenoiser):
    """The network and its images."""

    network_class = "UNet2DModel"
    component = "unet"

    def __init__(self, unet: Any, folder: Path, config: ModelConfig, device: torch.device) -> None:
        settings = unet.config
        if settings.in_channels not in (1, 3):
            raise UserError(
                f"model.path {config.path} takes {settings.in_channels} channels: a model of "
                "pixels takes 1 or 3"
            )
        if settings.time_embedding_type == "fourier":
            # It takes the logarithm of its time and divides its output by it: a model of scores.
            raise UserError(
                f"model.path {config.path} embeds its time by fourier features, which model.family "
                f"{config.family} does not; positional and learned are read"
            )
        if settings.class_embed_type == "timestep":
            unet.class_embedding.float()  # the library feeds it float32, whatever the network's
        self._whole_times = settings.time_embedding_type == "learned"
        side = _image_size(settings, config)
        super().__init__(unet, side, (int(settings.in_channels), side, side), folder, device)

    @classmethod
    def load(cls, folder: Path, config: ModelConfig, device: torch.device) -> Self:
        """Load `unet` of a checked pipeline folder (see `registry.resolve_model`)."""
        return cls(cls.load_network(folder, config), folder, config, device)

    def _forward(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Return the network's output, (B, C, H, W) float32, without channels of a learned
        variance."""
        output = self._network(
            x_BCHW.to(self._network.dtype),
            time_B.long() if self._whole_times else time_B,
            class_labels=conditioning.get("labels"),
            return_dict=False,
        )[0]
        return cast(torch.Tensor, output[:, : self.sample_shape[0]].float())


def _image_size(settings: Any, config: ModelConfig) -> int:
    size = config.image_size or settings.sample_size
    if isinstance(size, list | tuple):
        if len(set(size)) > 1:
            raise UserError(
                f"model.path {config.path} takes images of {' x '.join(map(str, size))} pixels: "
                "only square images are scored; set model.image_size"
            )
        size = size[0]
    if size is None:
        raise UserError(f"model.path {config.path} says no image size: set model.image_size")
    step = 2 ** (len(settings.block_out_channels) - 1)
    if size % step:
        raise UserError(f"model.image_size {size} must be a multiple of {step}")
    return int(size)
