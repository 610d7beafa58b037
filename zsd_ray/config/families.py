"""The table of model families: adding one is an entry here, and a file beside the other adapters.

Another package adds one under the entry-point group `zsd_ray.families`, whose name is the family's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zsd_ray.config.method_section import Capability
from zsd_ray.records.errors import UserError
from zsd_ray.settings.added import added_objects

_PIPELINES = "zsd_ray.models.files.pipeline_files:PipelineFiles"

_FOLDER_KEYS = ("revision", "variant", "pickle")
"""Keys of ModelConfig that say which files of a pipeline folder to read."""


@dataclass(frozen=True)
class Family:
    """The content of model folders of this family, and their loader.

    adapter: "module:Class" of an `Adapter` (models/adapter.py), imported when it is used.
    about: one line for `zsd-ray models`; example: a `model` section that works.
    takes: the input that defines classes: prompts, its own labels, or as the user's class declares.
    prompt_tokens: the most that its text encoders read; longer prompts are cut, with a warning.
    pipelines: values of `_class_name` in model_index.json; none: any.
    components: subfolders that it needs; optional: those that it reads if they exist.
    classes: (component, its allowed classes in model_index.json), if pipelines differ.
    t5_tokenizers: those of its tokenizers that are T5's; the others are CLIP's.
    predictions: values of `prediction_type` in the scheduler's configuration, and flow if it may be
        a scheduler of flow matching; none: it has no `prediction_type`.
    schedule: keys that the scheduler's configuration needs if it has a `prediction_type`.
    keys: of ModelConfig, beyond those of every family and of every pipeline folder.
    files: "module:Class" of a `ModelFiles` (models/adapter.py), imported when it is used; by
        default that of pipeline folders, which uses this entry's description of them.
    method: by which its models classify; those of `classifier` load a Classifier. Denoisers can
        also run the algorithms of config/algorithms.py for which they have the `abilities`.
    """

    adapter: str
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
    files: str = _PIPELINES
    method: Literal["diffusion-classifier", "classifier"] = "diffusion-classifier"
    abilities: tuple[Capability, ...] = ()

    @property
    def is_pipeline(self) -> bool:
        """Whether its models are folders of saved diffusers pipelines."""
        return self.files == _PIPELINES

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Return the keys of the model section that it takes beyond those of every family."""
        return (*_FOLDER_KEYS, *self.keys) if self.is_pipeline else self.keys


_OWN: dict[str, Family] = {
    "stable-diffusion": Family(
        adapter="zsd_ray.models.families.stable_diffusion:StableDiffusionAdapter",
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
        adapter="zsd_ray.models.families.sdxl:StableDiffusionXLAdapter",
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
        adapter="zsd_ray.models.families.sd3:StableDiffusion3Adapter",
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
        adapter="zsd_ray.models.families.flux:FluxAdapter",
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
        adapter="zsd_ray.models.families.pixart:PixArtAdapter",
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
        adapter="zsd_ray.models.families.deepfloyd_if:DeepFloydIFAdapter",
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
        adapter="zsd_ray.models.families.dit:DiTAdapter",
        about="DiT, conditioned on a label of ImageNet",
        example="{family: dit, path: facebook/DiT-XL-2-256}",
        takes="labels",
        pipelines=("DiTPipeline",),
        components=("vae", "transformer", "scheduler"),
        predictions=("epsilon", "v_prediction", "sample", "flow"),
        keys=("labels",),
        abilities=("decode", "features"),
    ),
    "ddpm": Family(
        adapter="zsd_ray.models.families.pixel_ddpm:DDPMAdapter",
        about="DDPM and Improved DDPM in pixels, conditioned on a label",
        example="{family: ddpm, path: /models/my-ddpm}",
        takes="labels",
        components=("unet", "scheduler"),
        classes=(("unet", ("UNet2DModel",)),),
        predictions=("epsilon", "v_prediction", "sample", "flow"),
        keys=("image_size", "labels"),
        abilities=("decode", "features"),
    ),
    "edm": Family(
        adapter="zsd_ray.models.families.edm:EDMAdapter",
        about="EDM of Karras et al. in pixels, conditioned on a label",
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
        adapter="zsd_ray.models.families.custom:CustomAdapter",
        about="a torch module of yours (docs/how-to/custom-models.md)",
        example='{family: custom, path: "my_model.py:MyModel", kwargs: {width: 64}}',
        takes="either",
        keys=("kwargs",),
        files="zsd_ray.models.files.custom_class:CustomFiles",
    ),
    "clip": Family(
        adapter="zsd_ray.models.families.clip:ClipAdapter",
        about="CLIP, SigLIP and their kin from open_clip: a zero-shot baseline",
        example="{family: clip, path: ViT-B-32-quickgelu, pretrained: openai}",
        takes="text",
        prompt_tokens="77, or as the model's configuration says",
        keys=("pretrained", "pickle", "revision"),
        files="zsd_ray.models.files.clip_files:ClipFiles",
        method="classifier",
    ),
    "timm": Family(
        adapter="zsd_ray.models.families.timm_classifier:TimmAdapter",
        about="supervised classifiers from timm: a trained baseline",
        example="{family: timm, path: resnet50.a1_in1k}",
        takes="labels",
        keys=("pretrained", "pickle", "revision", "labels"),
        files="zsd_ray.models.files.timm_files:TimmFiles",
        method="classifier",
    ),
    "probe": Family(
        adapter="zsd_ray.models.families.saved_probe:ProbeAdapter",
        about="a linear probe of a diffusion model's features, as zsd-ray probe saves it",
        example="{family: probe, path: runs/probe/probe}",
        takes="labels",
        keys=("labels", "pretrained"),
        files="zsd_ray.models.files.probe_files:ProbeFiles",
        method="classifier",
    ),
}


def _with_added(group: str) -> dict[str, Family]:
    """Return the whole table; raises UserError if a package adds an existing name."""
    others = added_objects(group, Family)
    if taken := sorted(_OWN.keys() & others.keys()):
        raise UserError(
            f"a package adds {taken[0]} under the entry points of {group}, which is a family of "
            "zsd_ray's own; give it another name there"
        )
    return _OWN | others


FAMILIES = _with_added("zsd_ray.families")
