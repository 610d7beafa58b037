"""The table of model families, and the one way to check and to load a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from zsd_ray.models import source
from zsd_ray.spec.config import ModelConfig
from zsd_ray.spec.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to import, and a check does not need it
    import torch

    from zsd_ray.models.base import Classifier, Conditioning, Denoiser


@dataclass(frozen=True)
class Family:
    """What a model folder of this family holds, and who loads it.

    module: has `load` and `encode_prompts` (models/base.py), imported when used.
    about: one line for `zsd-ray models`; example: a `model` section that works.
    takes: what tells its classes apart: prompts, its own labels, or what the user's class says.
    pipelines: values of `_class_name` in model_index.json; none: any.
    components: subfolders that it needs; optional: those that it reads where they are.
    classes: (component, the classes that model_index.json may give it), where pipelines differ.
    predictions: values of `prediction_type` in the scheduler's configuration; none: it has none.
    schedule: keys that the scheduler's configuration needs where it has a `prediction_type`.
    keys: of ModelConfig, beyond those of every family.
    checks: for models that are no pipeline folder: a module with `check(config) -> Path`, which
        raises UserError, and `fingerprint(config) -> str`; where it takes labels, also
        `check_prompts(config, prompts)`. They import torch only where a library's own list of
        names needs it; what `check` returns is the `folder` of `load` and `encode_prompts`.
    method: by which its models classify; those of `classifier` load a Classifier.
    """

    module: str
    about: str
    example: str
    takes: Literal["text", "labels", "either"]
    pipelines: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    predictions: tuple[str, ...] = ("epsilon",)
    schedule: tuple[str, ...] = ("beta_start", "beta_end", "beta_schedule")
    keys: tuple[str, ...] = ()
    checks: str | None = None
    method: Literal["diffusion-classifier", "classifier"] = "diffusion-classifier"


FAMILIES = {
    "stable-diffusion": Family(
        module="zsd_ray.models.stable_diffusion",
        about="Stable Diffusion 1.x and 2.x",
        example="{family: stable-diffusion, path: CompVis/stable-diffusion-v1-4}",
        takes="text",
        pipelines=("StableDiffusionPipeline",),
        components=("vae", "unet", "text_encoder", "tokenizer", "scheduler"),
        predictions=("epsilon", "v_prediction", "sample"),
        keys=("image_size",),
    ),
    "sd3": Family(
        module="zsd_ray.models.sd3",
        about="Stable Diffusion 3 and 3.5, with T5 or without",
        example="{family: sd3, path: stabilityai/stable-diffusion-3.5-medium, dtype: bfloat16}",
        takes="text",
        pipelines=("StableDiffusion3Pipeline",),
        components=(
            "vae",
            "transformer",
            "text_encoder",
            "text_encoder_2",
            "tokenizer",
            "tokenizer_2",
            "scheduler",
        ),
        optional=("text_encoder_3", "tokenizer_3"),
        classes=(("scheduler", ("FlowMatchEulerDiscreteScheduler",)),),
        predictions=(),
        keys=("image_size", "max_prompt_tokens"),
    ),
    "flux": Family(
        module="zsd_ray.models.flux",
        about="FLUX.1 dev and schnell",
        example="{family: flux, path: black-forest-labs/FLUX.1-schnell, dtype: bfloat16}",
        takes="text",
        pipelines=("FluxPipeline",),
        components=(
            "vae",
            "transformer",
            "text_encoder",
            "text_encoder_2",
            "tokenizer",
            "tokenizer_2",
            "scheduler",
        ),
        classes=(("scheduler", ("FlowMatchEulerDiscreteScheduler",)),),
        predictions=(),
        keys=("image_size", "max_prompt_tokens"),
    ),
    "dit": Family(
        module="zsd_ray.models.dit",
        about="DiT, told a label of ImageNet",
        example="{family: dit, path: facebook/DiT-XL-2-256}",
        takes="labels",
        pipelines=("DiTPipeline",),
        components=("vae", "transformer", "scheduler"),
        predictions=("epsilon", "v_prediction", "sample"),
        keys=("labels",),
    ),
    "ddpm": Family(
        module="zsd_ray.models.ddpm",
        about="DDPM and Improved DDPM in pixels, told a label",
        example="{family: ddpm, path: /models/my-ddpm}",
        takes="labels",
        components=("unet", "scheduler"),
        classes=(("unet", ("UNet2DModel",)),),
        predictions=("epsilon", "v_prediction", "sample"),
        keys=("image_size", "labels"),
    ),
    "edm": Family(
        module="zsd_ray.models.edm",
        about="EDM of Karras et al. in pixels, told a label",
        example="{family: edm, path: /models/my-edm}",
        takes="labels",
        components=("unet", "scheduler"),
        classes=(
            ("unet", ("UNet2DModel",)),
            ("scheduler", ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")),
        ),
        predictions=("epsilon", "v_prediction"),
        schedule=("sigma_min", "sigma_max", "sigma_data", "rho"),
        keys=("image_size", "labels"),
    ),
    "sdxl": Family(
        module="zsd_ray.models.sdxl",
        about="Stable Diffusion XL, the base model",
        example=(
            "{family: sdxl, path: stabilityai/stable-diffusion-xl-base-1.0, variant: fp16, "
            "dtype: float16}"
        ),
        takes="text",
        pipelines=("StableDiffusionXLPipeline",),
        components=(
            "vae",
            "unet",
            "text_encoder",
            "text_encoder_2",
            "tokenizer",
            "tokenizer_2",
            "scheduler",
        ),
        predictions=("epsilon", "v_prediction", "sample"),
        keys=("image_size",),
    ),
    "pixart": Family(
        module="zsd_ray.models.pixart",
        about="PixArt-alpha and PixArt-Sigma",
        example="{family: pixart, path: PixArt-alpha/PixArt-XL-2-512x512, dtype: bfloat16}",
        takes="text",
        pipelines=("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
        components=("vae", "transformer", "text_encoder", "tokenizer", "scheduler"),
        keys=("image_size", "max_prompt_tokens"),
    ),
    "deepfloyd-if": Family(
        module="zsd_ray.models.deepfloyd_if",
        about="DeepFloyd IF, stage I",
        example=(
            "{family: deepfloyd-if, path: DeepFloyd/IF-I-XL-v1.0, variant: fp16, dtype: bfloat16}"
        ),
        takes="text",
        pipelines=("IFPipeline",),
        components=("unet", "text_encoder", "tokenizer", "scheduler"),
    ),
    "clip": Family(
        module="zsd_ray.models.clip",
        about="CLIP, SigLIP and their kin from open_clip: a zero-shot baseline",
        example="{family: clip, path: ViT-B-32-quickgelu, pretrained: openai}",
        takes="text",
        keys=("pretrained", "pickle", "revision"),
        checks="zsd_ray.models.clip_files",
        method="classifier",
    ),
    "timm": Family(
        module="zsd_ray.models.timm_classifier",
        about="supervised classifiers from timm: a trained baseline",
        example="{family: timm, path: resnet50.a1_in1k}",
        takes="labels",
        keys=("pretrained", "pickle", "revision", "labels"),
        checks="zsd_ray.models.timm_files",
        method="classifier",
    ),
    "custom": Family(
        module="zsd_ray.models.custom",
        about="a torch module of yours (docs/custom-models.md)",
        example='{family: custom, path: "my_model.py:MyModel", kwargs: {width: 64}}',
        takes="either",
        keys=("kwargs",),
        checks="zsd_ray.models.custom_class",
    ),
}

_OWN_KEYS = ("image_size", "labels", "kwargs", "pretrained", "max_prompt_tokens")
"""Keys of ModelConfig that only some families take."""
_FOLDER_KEYS = ("revision", "variant", "pickle")
"""Keys that say which files of a pipeline folder to read."""


def check_model(config: ModelConfig) -> Path:
    """Find the model's files and check that they are whole and of its family; loads nothing.

    Raises:
        UserError: what is missing or does not fit, in one line.
    """
    family = FAMILIES[config.family]
    for key in (*_OWN_KEYS, *(_FOLDER_KEYS if family.checks else ())):
        if key not in family.keys and getattr(config, key) != ModelConfig.model_fields[key].default:
            raise UserError(f"model.{key} is of no use to model.family {config.family}; remove it")
    if family.checks:
        return cast(Path, import_module(family.checks).check(config))
    folder = source.resolve(config, (*family.components, *family.optional))
    index = folder / source.INDEX
    if not index.is_file():
        raise UserError(
            f"model.path {folder} is not a diffusers pipeline folder: it has no {source.INDEX}"
        )
    content = _read(index)
    pipeline = content.get("_class_name")
    if family.pipelines and pipeline not in family.pipelines:
        raise UserError(
            f"model.path {folder} holds a {pipeline}, and model.family {config.family} takes "
            f"{', '.join(family.pipelines)}"
        )
    for name, allowed in family.classes:
        kind = (content.get(name) or [None])[-1]
        if kind not in allowed:
            raise UserError(
                f"model.path {folder} has {kind} as its {name}, and model.family {config.family} "
                f"takes {', '.join(allowed)}"
            )
    parts = {name for name, kind in content.items() if isinstance(kind, list) and kind[-1]}
    if not family.pipelines and parts - set(family.components):
        raise UserError(
            f"model.path {folder} holds {', '.join(sorted(parts - set(family.components)))} too, "
            f"which model.family {config.family} has no use for: it is of another family"
        )
    missing = [name for name in family.components if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"model.path {folder} lacks the folders {', '.join(missing)}")
    for name in (*family.components, *family.optional):
        _check_weights(folder / name, config)
    if family.predictions:
        _check_schedule(folder / "scheduler" / "scheduler_config.json", family)
    return folder


def check_prompts(config: ModelConfig, prompts: Sequence[str]) -> None:
    """Check that a checked model can tell classes by these prompts; loads no weights.

    Raises:
        UserError: it cannot.
    """
    family = FAMILIES[config.family]
    if family.takes == "labels" and family.checks:
        import_module(family.checks).check_prompts(config, prompts)
    elif family.takes == "labels":
        from zsd_ray.models.labels import label_numbers

        label_numbers(check_model(config), config, prompts)
    elif family.takes == "either":
        from zsd_ray.models import custom_class

        custom_class.check_prompts(config, prompts)


def fingerprint(config: ModelConfig) -> str:
    """Hash the content of the model's files."""
    checks = FAMILIES[config.family].checks
    if checks:
        return cast(str, import_module(checks).fingerprint(config))
    return source.fingerprint(check_model(config))


def load_model(config: ModelConfig) -> Denoiser | Classifier:
    """Load the model that `config` names, on its device and in its dtype.

    Raises:
        UserError: it does not fit its family, or its device is not there.
    """
    folder = check_model(config)
    model: Denoiser | Classifier = _module(config).load(folder, config, _device(config))
    return model


def encode_prompts(config: ModelConfig, prompts: Sequence[str]) -> Conditioning:
    """Load what encodes prompts, encode them, and free it.

    Raises:
        UserError: as `load_model`.
    """
    folder, device = check_model(config), _device(config)
    conditioning: Conditioning = _module(config).encode_prompts(folder, config, prompts, device)
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
    return conditioning


def _module(config: ModelConfig) -> Any:
    return import_module(FAMILIES[config.family].module)


def _device(config: ModelConfig) -> torch.device:
    import torch

    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"model.device {name}: torch sees no CUDA device; set auto or cpu")
    return torch.device(name)


def _check_weights(folder: Path, config: ModelConfig) -> None:
    if not (folder / "config.json").is_file():
        return  # a tokenizer or scheduler, or an optional part that is not there
    kinds = [".safetensors", ".bin"] if config.pickle else [".safetensors"]
    variant = f".{config.variant}" if config.variant else ""
    if not any(file.suffix in kinds and variant in file.name for file in folder.iterdir()):
        wanted = " or ".join(variant + kind for kind in kinds)
        other = "" if config.pickle else "; .bin files can run code, and need model.pickle: true"
        raise UserError(f"model.path {folder} has no {wanted} file{other}")


def _check_schedule(path: Path, family: Family) -> None:
    """Refuse a schedule that would be read wrongly: the library fills in defaults in silence."""
    config = _read(path)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in family.predictions:
        raise UserError(
            f"{path}: prediction_type {prediction!r} is not one of {', '.join(family.predictions)}"
        )
    absent = [key for key in family.schedule if key not in config]
    if absent and config.get("trained_betas") is None:
        raise UserError(f"{path} names no {', '.join(absent)}: not a schedule of this family")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return content
