"""Distances between a denoised image and the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch

from zsd_ray.config.algorithms import NoiseDenoiseMethod, NoiseDenoiseVoteMethod
from zsd_ray.methods.class_rows import Rows
from zsd_ray.models.denoiser import Decoder, Denoiser
from zsd_ray.models.features.clip_embedding import load_embedding
from zsd_ray.storage.store import Store

Distance = Callable[[torch.Tensor, Rows], torch.Tensor]
"""Of denoised x, (B, C, H, W), from the images of their rows: (B,) float32."""


def make_distance(
    denoiser: Denoiser, config: NoiseDenoiseMethod | NoiseDenoiseVoteMethod, store: Store
) -> Distance:
    """Return the mean squared difference in the space that the configuration names.

    latent: of x, the model's own space. pixel: of the image in [-1, 1]. clip: of embeddings of
    length 1, summed, so that it is 2 - 2 cos.
    """
    if config.distance == "latent":
        return lambda x, rows: (x - rows.x_0).square().mean(dim=(1, 2, 3))
    decoder = cast(Decoder, denoiser)

    def decoded(x: torch.Tensor) -> torch.Tensor:
        return decoder.decode(x).clamp(-1, 1)

    def pixels(rows: Rows) -> torch.Tensor:
        return torch.stack([sample.pixels for sample in rows.samples])

    if config.distance == "pixel":
        return lambda x, rows: (decoded(x) - pixels(rows)).square().mean(dim=(1, 2, 3))
    assert config.clip is not None
    embed = load_embedding(config.clip.path, config.clip.pretrained, denoiser.device, store)
    return lambda x, rows: (embed(decoded(x)) - embed(pixels(rows))).square().sum(dim=1)
