"""The interfaces that the models of every family implement.

Shapes: B rows, C channels, H x W latent (or pixel) size, N prompts, K classes.

Models are loaded by the family's `Adapter` (models/adapter.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
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

ImageFeatures = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""What sees pictures, (B, H, W, 3): a vector of each, (B, D). For FID and its kin."""


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
        """One network forward per row; differentiable in x and conditioning, if gradients are on.

        Args:
            x_BCHW: noised x, float32.
            time_B: `schedule.model_time(t)`, float32.
            conditioning: rows of the result of `encode_prompts`, one for each of x, on `device`.

        Returns:
            (B, *sample_shape), float32, meaning what `parametrisation` says.
        """


class Decoder(Protocol):
    """A denoiser with the capability "decode"."""

    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Map x_0 back to images, (B, 3, S, S) float32, about [-1, 1]; not clipped."""


class Attends(Protocol):
    """A denoiser with the capability "attention"."""

    def attention(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> list[torch.Tensor]:
        """Run one forward like `predict`; return what each place of x attends to.

        Returns:
            One (B, h, w, L) float32 for each cross-attention, in the network's order: the mean over
            its heads of the attention from place (h, w) to each of the L tokens, summing to 1.
        """


class ShowsFeatures(Protocol):
    """A denoiser with the capability "features"."""

    def features(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Run one forward like `predict`; return the output of each block of the network.

        Returns:
            (B, C, h, w) float32 by block, in the network's order: of a U-Net `down.0` and on,
            `mid`, `up.0` and on, of a transformer `layer.0` and on.
        """


class PromptEncoder(Protocol):
    """A prompt encoder that stays loaded: for families with the capability "tokens".

    Attributes:
        device: where its tensors live.
    """

    device: torch.device

    def encode(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Like the family's `encode_prompts`, but float32 on `device`, without gradients."""

    def places(self, prompt: str, spans: Sequence[tuple[int, int]]) -> list[list[int]] | None:
        """Return the tokens of `prompt` that each span of its characters (start, end) covers; None
        if the prompt is longer than the encoder reads."""

    def name_embeddings(self, names: Sequence[str]) -> torch.Tensor:
        """Return the mean input embedding of each name's tokens, (K, D) float32."""

    def name_outputs(self, names: Sequence[str]) -> torch.Tensor:
        """Return the encoder's output for each name alone, averaged over its tokens, (K, D)
        float32."""

    def learned_outputs(self, embedding_BD: torch.Tensor) -> torch.Tensor:
        """Return its output for tokens with these input embeddings, each alone, (B, D) float32."""

    def encode_learned(self, template: str, embedding_BD: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode B copies of a template whose `{}` is one token with these input embeddings;
        differentiable in them."""


class Classifier(Protocol):
    """A model that scores an image for all classes in one forward: a baseline.

    Attributes:
        device: where tensors given to `classes` and `scores` live.
    """

    device: torch.device

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Transform an RGB picture into the model's input, (3, H, W) float32, CPU.

        Raises:
            ImageError: the picture is too long for the model's transform.
        """

    def classes(self, conditioning: Mapping[str, torch.Tensor], n_templates: int) -> torch.Tensor:
        """Make the rows of all prompts, class-major, one row per class: K rows, for `scores`."""

    def trial_classes(self) -> torch.Tensor:
        """Return two classes' rows, as `classes` does, for a trial before any prompt is known."""

    def scores(self, images_B3HW: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Score images, with one forward per image.

        Args:
            images_B3HW: preprocessed, float32.
            classes: the result of `classes`.

        Returns:
            (B, K) float32, lower is better.
        """
