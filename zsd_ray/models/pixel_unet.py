"""diffusers' UNet2DModel over pixels, told a label or nothing: what DDPM and EDM share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.features.block_features import block_features
from zsd_ray.models.files.components import load_network, network_dtype
from zsd_ray.models.latents import in_pixels
from zsd_ray.records.errors import UserError


class PixelUNet:
    """The network and its images.

    Attributes:
        image_size, sample_shape, device: as in `Denoiser`.
    """

    def __init__(self, unet: Any, config: ModelConfig, device: torch.device) -> None:
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
        self._unet = unet.to(device)
        self._whole_times = settings.time_embedding_type == "learned"
        self.device = device
        self.image_size = _image_size(settings, config)
        self.sample_shape = (int(settings.in_channels), self.image_size, self.image_size)

    @classmethod
    def load(cls, folder: Path, config: ModelConfig, device: torch.device) -> PixelUNet:
        """Load `unet` of a pipeline folder."""
        unet = load_network("UNet2DModel", folder / "unet", config, network_dtype(config))
        return cls(unet, config, device)

    def encode(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """The image itself, in [-1, 1]; its luma for a model of one channel."""
        return in_pixels(images_B3HW.to(self.device), self.sample_shape[0])

    def __call__(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """(B, C, H, W) float32, without the channels of a learned variance where there are any."""
        output = self._unet(
            x_BCHW.to(self._unet.dtype),
            time_B.long() if self._whole_times else time_B,
            class_labels=conditioning.get("labels"),
            return_dict=False,
        )[0]
        return cast(torch.Tensor, output[:, : self.sample_shape[0]].float())

    def block_features(self) -> AbstractContextManager[dict[str, torch.Tensor]]:
        """Collect what the network's blocks return, as block_features.py does."""
        return block_features(self._unet)


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
