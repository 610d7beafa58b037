"""The table of model families, and the one way to check and to load a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsd_ray.models import source
from zsd_ray.spec.config import ModelConfig
from zsd_ray.spec.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to import, and a check does not need it
    from zsd_ray.models.base import Denoiser


@dataclass(frozen=True)
class Family:
    """What a pipeline folder of this family holds, and who loads it.

    loader: "module:Class", imported when used.
    pipelines: values of `_class_name` in model_index.json.
    components: its subfolders.
    predictions: values of `prediction_type` in the scheduler's configuration.
    """

    loader: str
    pipelines: tuple[str, ...]
    components: tuple[str, ...]
    predictions: tuple[str, ...]


FAMILIES = {
    "stable-diffusion": Family(
        loader="zsd_ray.models.stable_diffusion:StableDiffusion",
        pipelines=("StableDiffusionPipeline",),
        components=("vae", "unet", "text_encoder", "tokenizer", "scheduler"),
        predictions=("epsilon", "v_prediction", "sample"),
    ),
}


def check_model(config: ModelConfig) -> Path:
    """Find the model's folder and check that it is a whole one of its family; loads nothing.

    Raises:
        UserError: what is missing or does not fit, in one line.
    """
    family = FAMILIES[config.family]
    folder = source.resolve(config.path, family.components)
    index = folder / source.INDEX
    if not index.is_file():
        raise UserError(
            f"model.path {folder} is not a diffusers pipeline folder: it has no {source.INDEX}"
        )
    pipeline = _read(index).get("_class_name")
    if pipeline not in family.pipelines:
        raise UserError(
            f"model.path {folder} holds a {pipeline}, and model.family {config.family} takes "
            f"{', '.join(family.pipelines)}"
        )
    missing = [name for name in family.components if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"model.path {folder} lacks the folders {', '.join(missing)}")
    for name in family.components:
        has_weights = (folder / name / "config.json").is_file()
        if has_weights and not any((folder / name).glob("*.safetensors")):
            raise UserError(
                f"model.path {folder}/{name} has no .safetensors file; other weight formats are "
                "not read"
            )
    _check_schedule(folder / "scheduler" / "scheduler_config.json", family)
    return folder


def load_model(config: ModelConfig) -> Denoiser:
    """Load the model that `config` names, on its device and in its dtype.

    Raises:
        UserError: it does not fit its family, or its device is not there.
    """
    folder = check_model(config)
    import torch

    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"model.device {device}: torch sees no CUDA device; set auto or cpu")
    module, name = FAMILIES[config.family].loader.split(":")
    loader = getattr(import_module(module), name)
    denoiser: Denoiser = loader.load(folder, getattr(torch, config.dtype), torch.device(device))
    return denoiser


def _check_schedule(path: Path, family: Family) -> None:
    """Refuse a schedule that would be read wrongly: the library fills in defaults in silence."""
    config = _read(path)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in family.predictions:
        raise UserError(
            f"{path}: prediction_type {prediction!r} is not one of {', '.join(family.predictions)}"
        )
    if not {"beta_start", "beta_end", "beta_schedule"} <= config.keys():
        raise UserError(
            f"{path} names no beta_start, beta_end and beta_schedule: not a schedule of this family"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return content
