"""A tiny Stable Diffusion, 16 x 16 pixels."""

import torch

from zsd_ray.config.training import NetworkConfig
from zsd_ray.models.untrained.tiny_stable_diffusion import build

CAPTIONS = ["a photo of a cat.", "a photo of a dog.", "a drawing of a dog"]
NETWORK = NetworkConfig(
    image_size=16,
    vae_channels=(8, 16),
    unet_channels=(8, 32),
    unet_layers=1,
    text_width=32,
    text_layers=1,
    prompt_length=12,
)


def components():
    """Random weights, a few thousand parameters."""
    return build(NETWORK, CAPTIONS, "epsilon", seed=0)


def stable_diffusion(folder, prediction):
    parts = components()
    parts.scheduler.register_to_config(prediction_type=prediction)
    parts.save(folder, torch.float32)
    return ["a photo of a cat.", "a drawing of a dog", ""], {}
