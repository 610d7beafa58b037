"""The training configuration: what `zsd-ray train` reads."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from zsd_ray.spec.config import DataConfig, TrackingConfig
from zsd_ray.spec.section import Count, Fraction, Section


class NetworkConfig(Section):
    """Sizes of a small Stable Diffusion; one VAE downsampling for each channel after the first."""

    image_size: Count = 32
    latent_channels: Count = 4
    vae_channels: tuple[int, ...] = (16, 32, 32)
    unet_channels: tuple[int, ...] = (32, 64)
    unet_layers: Count = 2
    text_width: Count = 64
    text_layers: Count = 2
    prompt_length: int = Field(16, ge=4)

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        for name in ("vae_channels", "unet_channels"):
            channels = getattr(self, name)
            if not channels or any(c < 8 or c % 8 for c in channels):
                raise ValueError(f"{name} must be multiples of 8, but came {list(channels)}")
        halvings = len(self.vae_channels) + len(self.unet_channels) - 2
        if self.image_size % 2**halvings:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {2**halvings}: the VAE and "
                f"the U-Net halve it {halvings} times"
            )
        return self


class CaptionConfig(Section):
    """Captions of class k: each template with each of its names, as `templates x names[k]`."""

    names: list[list[str]] = Field(min_length=2)
    templates: list[str] = Field(min_length=1)
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _slots(self) -> Self:
        if any(not names for names in self.names):
            raise ValueError("each class needs at least one name")
        if any(template.count("{}") != 1 for template in self.templates):
            raise ValueError("each template needs exactly one {}")
        return self


class AugmentConfig(Section):
    """Random changes of the training images, uniform within these bounds.

    degrees, scale and shift (a fraction of the width) bound an affine map; `contrast` is the
    largest factor by which pixel values are spread, up to black and white.
    """

    degrees: float = Field(0, ge=0)
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = Field(0, ge=0, lt=1)
    contrast: float = Field(1, ge=1)


class StageConfig(Section):
    """One stage's optimisation: AdamW, linear warm-up over 5 %, cosine decay."""

    steps: Count
    batch_size: Count = 128
    learning_rate: float = Field(1e-3, gt=0)


class TrainOutputConfig(Section):
    """Where the model folder goes; checkpoints lie under it while training runs."""

    path: str = "runs/train"
    checkpoint_every: Count = 250


class TrainConfig(Section):
    """Training of a text-to-image latent diffusion model: VAE first, then the rest."""

    network: NetworkConfig = NetworkConfig()
    data: DataConfig = DataConfig(split="train")
    captions: CaptionConfig
    augment: AugmentConfig = AugmentConfig()
    vae: StageConfig = StageConfig(steps=1500)
    denoiser: StageConfig = StageConfig(steps=3000)
    ema_decay: Fraction = 0.999
    output: TrainOutputConfig = TrainOutputConfig()
    tracking: TrackingConfig = TrackingConfig(experiment="train")
    seed: int = Field(0, ge=0, lt=2**63)
