"""The table of model families, and the one way to check and to load a model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zsd_ray.models import source
from zsd_ray.spec.config import ModelConfig

if TYPE_CHECKING:  # torch takes seconds to import, and a check does not need it
    from zsd_ray.models.base import Denoiser


@dataclass(frozen=True)
class Family:
    """A loader `module:Class`, imported when used, and the pipeline folder's parts it needs."""

    loader: str
    components: tuple[str, ...]


FAMILIES = {
    "stable-diffusion": Family(
        "zsd_ray.models.stable_diffusion:StableDiffusion",
        ("vae", "unet", "text_encoder", "tokenizer", "scheduler"),
    ),
}


def check_model(config: ModelConfig) -> Path:
    """Find the model's folder and check that it is whole; loads nothing.

    Raises:
        UserError: what is missing, in one line.
    """
    folder = source.resolve(config.path)
    source.check_pipeline_folder(folder, FAMILIES[config.family].components)
    return folder


def load_model(config: ModelConfig) -> Denoiser:
    """Load the model that `config` names, on its device and in its dtype."""
    import torch

    folder = check_model(config)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    module, name = FAMILIES[config.family].loader.split(":")
    loader = getattr(import_module(module), name)
    denoiser: Denoiser = loader.load(folder, getattr(torch, config.dtype), torch.device(device))
    return denoiser
