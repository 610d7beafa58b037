"""What a family of models is; apart from their table, which imports those of other packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zsd_ray.config.method_section import Capability

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
        """Whether its models are folders as diffusers' pipelines are saved."""
        return self.files == _PIPELINES

    @property
    def all_keys(self) -> tuple[str, ...]:
        """The keys of the model section that it takes and not every family does."""
        return (*_FOLDER_KEYS, *self.keys) if self.is_pipeline else self.keys
