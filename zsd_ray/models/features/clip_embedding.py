"""Embeddings of images by an open_clip model: to compare two images, not to classify one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import interpolate, normalize

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.families.clip import load_image_tower
from zsd_ray.models.files.clip_files import ClipFiles
from zsd_ray.storage.store import Store


def load_embedding(
    path: str, pretrained: str | None, device: torch.device, store: Store
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Load a model's image tower.

    Args:
        path, pretrained: like model.path and model.pretrained of family clip.
        store: how a URL is reached.

    Returns:
        A function of images, (B, 3, S, S) in [-1, 1], to embeddings of length 1, (B, D) float32.
        Images are resized to the model's size as tensors (bicubic, antialiased), so that a
        denoiser's output need not be converted to a picture first.

    Raises:
        UserError: there is no such model.
    """
    config = ModelConfig(family="clip", path=path, pretrained=pretrained)
    tower, size, *scaling = load_image_tower(ClipFiles().check(config, store), config, device)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in scaling)

    @torch.no_grad()
    def embed(images_B3SS: torch.Tensor) -> torch.Tensor:
        resized = interpolate(images_B3SS, size=size, mode="bicubic", antialias=True)
        features = tower.encode_image(((resized.clamp(-1, 1) + 1) / 2 - mean) / std)
        return normalize(features.float(), dim=-1)

    return embed
