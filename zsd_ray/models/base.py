"""The convention at the border: what every denoiser can do, whichever family it is of.

Shapes: B rows, C channels, H x W latent (or pixel) size, N prompts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import Schedule


class Denoiser(Protocol):
    """A text-conditional diffusion model behind our convention.

    Attributes:
        schedule: alpha and sigma over t in [0, 1].
        parametrisation: what `predict` returns.
        image_size: height and width of the square image that `encode_images` takes.
        sample_shape: (C, H, W) of x.
        device: where tensors given to `predict` live.
    """

    schedule: Schedule
    parametrisation: Parametrisation
    image_size: int
    sample_shape: tuple[int, int, int]
    device: torch.device

    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Map images, float32 in [-1, 1], to x_0, (B, *sample_shape) float32."""

    def encode_prompts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Map prompts to conditioning (N, L, D), float32 on the CPU."""

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning_BLD: torch.Tensor
    ) -> torch.Tensor:
        """One network forward a row.

        Args:
            x_BCHW: noised x, float32.
            time_B: `schedule.model_time(t)`, float32.
            conditioning_BLD: rows of `encode_prompts`, float32.

        Returns:
            (B, *sample_shape), float32, meaning what `parametrisation` says.
        """
