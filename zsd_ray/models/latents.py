"""The space of x: the latents of a VAE, or the image's own pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.components import load_network
from zsd_ray.records.errors import UserError


class Autoencoder:
    """The VAE of a latent diffusion model, always in float32.

    Attributes:
        downsampling: pixels per latent, along a side.
    """

    def __init__(self, vae: Any, device: torch.device) -> None:
        self._vae = vae.to(device)
        self._device = device
        self.downsampling: int = 2 ** (len(vae.config.block_out_channels) - 1)
        self._scale: torch.Tensor | float = float(vae.config.scaling_factor)
        self._shift: torch.Tensor | float = float(getattr(vae.config, "shift_factor", None) or 0.0)
        mean, std = (getattr(vae.config, f"latents_{kind}", None) for kind in ("mean", "std"))
        if mean is not None and std is not None:
            self._shift = torch.tensor(mean, device=device).view(-1, 1, 1)
            self._scale = self._scale / torch.tensor(std, device=device).view(-1, 1, 1)

    @classmethod
    def load(cls, folder: Path, config: ModelConfig, device: torch.device) -> Autoencoder:
        """Load `vae` of a pipeline folder."""
        return cls(load_network("AutoencoderKL", folder / "vae", config, torch.float32), device)

    def sample_shape(self, image_size: int, patch_size: int = 1) -> tuple[int, int, int]:
        """Return (C, H, W) of an image's latents, for a network that cuts them into patches.

        Raises:
            UserError: images of this size have no whole latent, or no whole patches.
        """
        unit = self.downsampling * patch_size
        if image_size % unit:
            raise UserError(f"model.image_size {image_size} must be a multiple of {unit}")
        side = image_size // self.downsampling
        return (int(self._vae.config.latent_channels), side, side)

    def encode(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Return the posterior mean, shifted and scaled as in training, (B, C, H, W) float32.

        Rombach et al. 2022, app. G (scaling); Esser et al. 2024 (shift): (mean - shift) * scale.
        A configuration with `latents_mean` and `latents_std` has a shift and scale per channel.
        """
        posterior = self._vae.encode(images_B3HW.to(self._device)).latent_dist
        return cast(torch.Tensor, (posterior.mean - self._shift) * self._scale)

    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Invert `encode`: the decoder's output, (B, 3, S, S) float32, not clipped."""
        return cast(torch.Tensor, self._vae.decode(x_BCHW / self._scale + self._shift).sample)


_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601: how Pillow and torchvision make the grey images that such models learn."""


def in_pixels(images_B3HW: torch.Tensor, n_channels: int) -> torch.Tensor:
    """Return x_0 of a pixel model, (B, C, H, W) float32: the image, or its luma if C is 1."""
    images = images_B3HW.float()
    if n_channels == 3:
        return images
    weights = torch.tensor(_LUMA, device=images.device)
    return torch.einsum("bchw,c->bhw", images, weights)[:, None]


def in_three_channels(x_BCHW: torch.Tensor) -> torch.Tensor:
    """Return the image of a pixel model, (B, 3, H, W): grey if C is 1."""
    return x_BCHW.expand(-1, 3, -1, -1)


def to_picture(pixels_B3SS: torch.Tensor) -> NDArray[np.uint8]:
    """Convert images in [-1, 1] to (B, S, S, 3) in 0 .. 255."""
    scaled = (pixels_B3SS.clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
