"""The configuration of `zsd-ray generate`: which images a model makes, and how."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from zsd_ray.config.precision import with_dtype
from zsd_ray.config.run import ClusterConfig, ModelConfig, PromptConfig, TrackingConfig
from zsd_ray.config.sampler import SamplerConfig
from zsd_ray.config.storage import StorageConfig
from zsd_ray.settings.section import Count, OutputPlace, Section


class GenerateOutputConfig(Section):
    """Where the images go: parts of Parquet under `path`/images."""

    path: OutputPlace = "runs/generated"


class GenerateConfig(Section):
    """One generated set: `images_per_class` of each class, or `images` of an unconditional
    model."""

    model: ModelConfig = ModelConfig()
    prompts: PromptConfig = PromptConfig()
    images_per_class: Count | None = None
    images: Count | None = None
    sampler: SamplerConfig = SamplerConfig()
    guidance_scale: float = Field(1.0, ge=0)
    cluster: ClusterConfig = ClusterConfig()
    output: GenerateOutputConfig = GenerateOutputConfig()
    storage: StorageConfig = StorageConfig()
    tracking: TrackingConfig = TrackingConfig(experiment="generate")
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _dtype_of_all_workers(self) -> Self:
        model = with_dtype(self.model, self.cluster.gpus_per_worker)
        object.__setattr__(self, "model", model)  # the section is frozen
        return self

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if (self.images is None) == (self.images_per_class is None):
            raise ValueError(
                "set either images_per_class, or images for images of no class; came "
                f"images_per_class {self.images_per_class} and images {self.images}"
            )
        if self.images is not None and "prompts" in self.model_fields_set:
            raise ValueError("images are of no class; remove prompts, or set images_per_class")
        if self.images is not None and self.guidance_scale != 1:
            raise ValueError(
                "guidance_scale leads to a class; with images, which have none, it is 1"
            )
        return self
