"""The configuration of `zsd-ray fid`: two sets of images, and the feature extractor."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from zsd_ray.config.data import DataConfig, refuse_output_among
from zsd_ray.config.pooling import Pooling, Time
from zsd_ray.config.precision import with_dtype
from zsd_ray.config.run import ClusterConfig, ModelConfig, TrackingConfig
from zsd_ray.config.storage import StorageConfig
from zsd_ray.settings.section import SAVED, Count, Device, OutputPlace, Place, Section


class InceptionExtractor(Section):
    """Inception-v3 as FID was defined with, from a file of its weights."""

    kind: Literal["inception"]
    weights: Place
    device: Device = "auto"


class ClipExtractor(Section):
    """The image tower of an open_clip model; embeddings of length 1."""

    kind: Literal["clip"]
    path: Place = "ViT-B-32-quickgelu"
    pretrained: str | None = None
    device: Device = "auto"


class TimmExtractor(Section):
    """The pooled features of a timm classifier, before its head."""

    kind: Literal["timm"]
    path: Place
    pretrained: str | None = None
    device: Device = "auto"


class DenoiserExtractor(Section):
    """One block of a diffusion model, conditioned on `prompt`, with noise of time `t` on the
    image."""

    kind: Literal["denoiser"]
    model: ModelConfig = ModelConfig()
    prompt: str = ""
    block: str
    t: Time = 0.1
    pooling: Pooling = "mean"

    @model_validator(mode="after")
    def _float32(self) -> Self:
        # Two sets are compared by it, on whatever machines.
        object.__setattr__(self, "model", with_dtype(self.model, 0, half=False))
        return self


ExtractorConfig = Annotated[
    InceptionExtractor | ClipExtractor | TimmExtractor | DenoiserExtractor,
    Field(discriminator="kind"),
]


class FidOutputConfig(Section):
    """Where fid.json goes, and the real images' statistics."""

    path: OutputPlace = "runs/fid"


class FidConfig(Section):
    """How far one set of images is from another: `generated` from `real`."""

    real: DataConfig = DataConfig()
    generated: DataConfig
    extractor: ExtractorConfig
    image_size: Count | None = None
    cluster: ClusterConfig = ClusterConfig()
    output: FidOutputConfig = FidOutputConfig()
    storage: StorageConfig = StorageConfig()
    tracking: TrackingConfig = TrackingConfig(experiment="fid")
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _output_is_no_data(self, info: ValidationInfo) -> Self:
        if not (info.context or {}).get(SAVED):
            for data in (self.real, self.generated):
                refuse_output_among(data, self.output.path)
        return self

    @property
    def device(self) -> str:
        """Return the device of the extractor."""
        extractor = self.extractor
        return extractor.model.device if extractor.kind == "denoiser" else extractor.device
