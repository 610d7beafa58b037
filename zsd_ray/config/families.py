"""The table of model families: adding one is an entry here, a name in the configuration, and a
module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zsd_ray.config.method import Capability


@dataclass(frozen=True)
class Family:
    """What a model folder of this family holds, and who loads it.

    module: has `load` and `encode_prompts` (models/denoiser.py), imported when used.
    about: one line for `zsd-ray models`; example: a `model` section that works.
    takes: what tells its classes apart: prompts, its own labels, or what the user's class says.
    prompt_tokens: how many of a prompt its text encoders read; what is longer is cut, and said.
    pipelines: values of `_class_name` in model_index.json; none: any.
    components: subfolders that it needs; optional: those that it reads where they are.
    classes: (component, the classes that model_index.json may give it), where pipelines differ.
    t5_tokenizers: those of its tokenizers that are T5's; the others are CLIP's.
    predictions: values of `prediction_type` in the scheduler's configuration, and flow where it may
        be a scheduler of flow matching; none: it has no `prediction_type`.
    schedule: keys that the scheduler's configuration needs where it has a `prediction_type`.
    keys: of ModelConfig, beyond those of every family.
    checks: for models that are no pipeline folder: a module with `check(config, store) -> Path`,
        which raises UserError, and `fingerprint(config, store) -> str`; where it takes labels, also
        `check_prompts(config, prompts, store)`. They import torch only where a library's own list
        of names needs it; what `check` returns is the `folder` of `load` and `encode_prompts`.
    method: by which its models classify; those of `classifier` load a Classifier. Denoisers can do
        the algorithms of config/algorithms.py, too, as far as their `abilities` suffice.
    """

    module: str
    about: str
    example: str
    takes: Literal["text", "labels", "either"]
    prompt_tokens: str = ""
    pipelines: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    t5_tokenizers: tuple[str, ...] = ()
    predictions: tuple[str, ...] = ("epsilon",)
    schedule: tuple[str, ...] = ("beta_start", "beta_end", "beta_schedule")
    keys: tuple[str, ...] = ()
    checks: str | None = None
    method: Literal["diffusion-classifier", "classifier"] = "diffusion-classifier"
    abilities: tuple[Capability, ...] = ()


FAMILIES = {
    "stable-diffusion": Family(
        module="zsd_ray.models.families.stable_diffusion",
        about="Stable Diffusion 1.x and 2.x",
        example="{family: stable-diffusion, path: CompVis/stable-diffusion-v1-4}",
        takes="text",
        prompt_tokens="77",
        pipelines=("StableDiffusionPipeline",),
        components=("vae", "unet", "text_encoder", "tokenizer", "scheduler"),
        predictions=("epsilon", "v_prediction", "sample", "flow"),
        keys=("image_size",),
        abilities=("prompts", "decode", "attention", "tokens", "features"),
    ),
    "sdxl": Family(
        module="zsd_ray.models.families.sdxl",
        about="Stable Diffusion XL, the base model",
        example="{family: sdxl, path: stabilityai/stable-diffusion-xl-base-1.0, variant: fp16}",
        takes="text",
        prompt_tokens="77",
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
        predictions=("epsilon", "v_prediction", "sample", "flow"),
        keys=("image_size",),
        abilities=("prompts", "decode", "features"),
    ),
    "sd3": Family(
        module="zsd_ray.models.families.sd3",
        about="Stable Diffusion 3 and 3.5, with T5 or without",
        example="{family: sd3, path: stabilityai/stable-diffusion-3.5-medium}",
        takes="text",
        prompt_tokens="77 to CLIP, 256 to T5",
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
        t5_tokenizers=("tokenizer_3",),
        classes=(("scheduler", ("FlowMatchEulerDiscreteScheduler",)),),
        predictions=(),
        keys=("image_size", "max_prompt_tokens"),
        abilities=("prompts", "decode", "features"),
    ),
    "flux": Family(
        module="zsd_ray.models.families.flux",
        about="FLUX.1 dev and schnell",
        example="{family: flux, path: black-forest-labs/FLUX.1-schnell}",
        takes="text",
        prompt_tokens="77 to CLIP, 512 to T5 (schnell: 256)",
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
        t5_tokenizers=("tokenizer_2",),
        classes=(("scheduler", ("FlowMatchEulerDiscreteScheduler",)),),
        predictions=(),
        keys=("image_size", "max_prompt_tokens"),
        abilities=("prompts", "decode", "features"),
    ),
    "pixart": Family(
        module="zsd_ray.models.families.pixart",
        about="PixArt-alpha and PixArt-Sigma",
        example="{family: pixart, path: PixArt-alpha/PixArt-XL-2-512x512}",
        takes="text",
        prompt_tokens="120 (Sigma: 300)",
        pipelines=("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
        components=("vae", "transformer", "text_encoder", "tokenizer", "scheduler"),
        t5_tokenizers=("tokenizer",),
        keys=("image_size", "max_prompt_tokens"),
        abilities=("prompts", "decode", "features"),
    ),
    "deepfloyd-if": Family(
        module="zsd_ray.models.families.deepfloyd_if",
        about="DeepFloyd IF, stage I",
        example=("{family: deepfloyd-if, path: DeepFloyd/IF-I-XL-v1.0, variant: fp16}"),
        takes="text",
        prompt_tokens="77",
        pipelines=("IFPipeline",),
        components=("unet", "text_encoder", "tokenizer", "scheduler"),
        t5_tokenizers=("tokenizer",),
        abilities=("prompts", "decode", "features"),
    ),
    "dit": Family(
        module="zsd_ray.models.families.dit",
        about="DiT, told a label of ImageNet",
        example="{family: dit, path: facebook/DiT-XL-2-256}",
        takes="labels",
        pipelines=("DiTPipeline",),
        components=("vae", "transformer", "scheduler"),
        predictions=("epsilon", "v_prediction", "sample", "flow"),
        keys=("labels",),
        abilities=("decode", "features"),
    ),
    "ddpm": Family(
        module="zsd_ray.models.families.pixel_ddpm",
        about="DDPM and Improved DDPM in pixels, told a label",
        example="{family: ddpm, path: /models/my-ddpm}",
        takes="labels",
        components=("unet", "scheduler"),
        classes=(("unet", ("UNet2DModel",)),),
        predictions=("epsilon", "v_prediction", "sample", "flow"),
        keys=("image_size", "labels"),
        abilities=("decode", "features"),
    ),
    "edm": Family(
        module="zsd_ray.models.families.edm",
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
        abilities=("decode", "features"),
    ),
    "custom": Family(
        module="zsd_ray.models.families.custom",
        about="a torch module of yours (docs/how-to/custom-models.md)",
        example='{family: custom, path: "my_model.py:MyModel", kwargs: {width: 64}}',
        takes="either",
        keys=("kwargs",),
        checks="zsd_ray.models.files.custom_class",
    ),
    "clip": Family(
        module="zsd_ray.models.families.clip",
        about="CLIP, SigLIP and their kin from open_clip: a zero-shot baseline",
        example="{family: clip, path: ViT-B-32-quickgelu, pretrained: openai}",
        takes="text",
        prompt_tokens="77, or as the model's configuration says",
        keys=("pretrained", "pickle", "revision"),
        checks="zsd_ray.models.files.clip_files",
        method="classifier",
    ),
    "timm": Family(
        module="zsd_ray.models.families.timm_classifier",
        about="supervised classifiers from timm: a trained baseline",
        example="{family: timm, path: resnet50.a1_in1k}",
        takes="labels",
        keys=("pretrained", "pickle", "revision", "labels"),
        checks="zsd_ray.models.files.timm_files",
        method="classifier",
    ),
    "probe": Family(
        module="zsd_ray.models.families.saved_probe",
        about="a linear probe of a diffusion model's features, as zsd-ray probe saves it",
        example="{family: probe, path: runs/probe/probe}",
        takes="labels",
        keys=("labels", "pretrained"),
        checks="zsd_ray.models.files.probe_files",
        method="classifier",
    ),
}
