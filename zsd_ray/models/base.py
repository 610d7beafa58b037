"""The convention at the border: what every model can do, whichever family it is of.

Shapes: B rows, C channels, H x W latent (or pixel) size, N prompts, K classes.

A family's module has two functions, which the registry calls:

    load(folder, config, device) -> Denoiser, or Classifier
        the network and what encodes images; no text encoder
    encode_prompts(folder, config, prompts, device) -> Conditioning
        loads what encodes prompts, and frees it before it returns
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import Schedule

Conditioning = Mapping[str, NDArray[Any]]
"""What a network takes beside x and its time: by name, arrays with one row a prompt, on the CPU.

Floats are float32 where the network is, else float16: 1,000 prompts of Stable Diffusion 2 (77 x
1,024) take 158 MB.
"""


class Denoiser(Protocol):
    """A conditional diffusion model behind our convention.

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

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """One network forward a row.

        Args:
            x_BCHW: noised x, float32.
            time_B: `schedule.model_time(t)`, float32.
            conditioning: rows of what `encode_prompts` returned, one for each of x, on `device`.

        Returns:
            (B, *sample_shape), float32, meaning what `parametrisation` says.
        """


class Classifier(Protocol):
    """A model that scores an image for all classes in one forward: a baseline.

    Attributes:
        device: where tensors given to `classes` and `scores` live.
    """

    device: torch.device

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Make an RGB picture the input that the model was trained on: (3, H, W) float32, CPU."""

    def classes(self, conditioning: Mapping[str, torch.Tensor], n_templates: int) -> torch.Tensor:
        """Make the rows of all prompts, class-major, one row a class: K rows, for `scores`."""

    def scores(self, images_B3HW: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """One forward an image.

        Args:
            images_B3HW: preprocessed, float32.
            classes: what `classes` returned.

        Returns:
            (B, K) float32, lower is better.
        """
