"""The training configuration of `zsd-ray train`.

docs/reference/training.md describes each key.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from zsd_ray.config.data import DataConfig, refuse_output_among
from zsd_ray.config.run import TrackingConfig, parse_config
from zsd_ray.config.storage import StorageConfig
from zsd_ray.records.errors import UserError
from zsd_ray.settings.giving_way import Choice, errors_of, give_way
from zsd_ray.settings.section import SAVED, Count, Fraction, OutputPlace, Section
from zsd_ray.settings.tree import overridden, read_tree, typed_path

Objective = Literal["epsilon", "v", "sample", "flow"]
FlowTimes = Literal["logit-normal", "uniform"]

_GROUPS = 8
_STABLE_DIFFUSION_STEPS = 1000


def _check_channels(name: str, channels: tuple[int, ...]) -> None:
    if not channels or any(c < _GROUPS or c % _GROUPS for c in channels):
        raise ValueError(f"{name} must be multiples of {_GROUPS}, but came {list(channels)}")


def _check_halvings(size: int, n: int, who: str) -> None:
    if size % 2**n:
        raise ValueError(f"image_size {size} must be a multiple of {2**n}: {who} {n} times")


def _as_text(names: object) -> object:
    """Convert a name to text: YAML reads 0 and 1 as numbers."""
    if not isinstance(names, list):
        return names
    return [str(name) if type(name) is int else name for name in names]


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
            _check_channels(name, getattr(self, name))
        halvings = len(self.vae_channels) + len(self.unet_channels) - 2
        _check_halvings(self.image_size, halvings, "the VAE and the U-Net halve it")
        return self


class PixelNetworkConfig(Section):
    """Sizes of a U-Net over pixels; `attention` names the blocks that have it, from 1."""

    image_size: Count = 32
    image_channels: Literal[1, 3] = 3
    channels: tuple[int, ...] = (128, 256, 256, 256)
    layers: Count = 2
    attention: tuple[int, ...] = (2,)

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        _check_channels("channels", self.channels)
        _check_halvings(self.image_size, len(self.channels) - 1, "the U-Net halves it")
        odd = [block for block in self.attention if not 1 <= block <= len(self.channels)]
        if odd:
            raise ValueError(
                f"attention names block {odd[0]}; blocks are 1 to {len(self.channels)}"
            )
        return self


class ClipNetworkConfig(Section):
    """Sizes of a CLIP's two towers: a ResNet of four stages, and a transformer."""

    image_size: Count = 32
    image_width: int = Field(16, ge=2, multiple_of=2)
    image_blocks: tuple[Count, Count, Count, Count] = (1, 1, 1, 1)
    text_width: Count = 64
    text_layers: Count = 2
    text_heads: Count = 2
    prompt_length: int = Field(16, ge=4)
    embedding_width: Count = 64

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        _check_halvings(self.image_size, 5, "the image tower halves it")
        if self.text_width % self.text_heads:
            raise ValueError(
                f"text_width {self.text_width} must be a multiple of text_heads {self.text_heads}"
            )
        return self


class ChainConfig(Section):
    """The chain of noise levels: beta rises linearly (Ho et al. 2020, section 4)."""

    steps: Count = 1000
    beta_start: Fraction = 1e-4
    beta_end: Fraction = 0.02


class TrueCaptionConfig(Section):
    """Captions of class k: each template with each of its names, as `templates x names[k]`.

    Without names and templates, each image has the true captions of its data set.
    """

    names: list[list[str]] | None = Field(None, min_length=2)
    templates: list[str] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _slots(self) -> Self:
        if (self.names is None) != (self.templates is None):
            raise ValueError("names and templates go together: give both, or neither")
        if any(not names for names in self.names or ()):
            raise ValueError("each class needs at least one name")
        if any(template.count("{}") != 1 for template in self.templates or ()):
            raise ValueError("each template needs exactly one {}")
        return self


class CaptionConfig(TrueCaptionConfig):
    """Captions as in `TrueCaptionConfig`, and the share of images with an empty caption instead."""

    dropout: float = Field(0.1, ge=0, lt=1)


class AugmentConfig(Section):
    """Random changes of the training images, uniform within these bounds.

    degrees, scale and shift (a fraction of the width) bound an affine map; `contrast` is the
    largest factor by which pixel values are spread, up to black and white. `mirror` flips half of
    the images left to right.
    """

    degrees: float = Field(0, ge=0)
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = Field(0, ge=0, lt=1)
    contrast: float = Field(1, ge=1)
    mirror: bool = False


class OptimiserConfig(Section):
    """AdamW; the learning rate rises linearly over the share `warmup` of all steps."""

    batch_size: Count = 128
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)


class StageConfig(OptimiserConfig):
    """One of several stages of a training, which is counted in steps."""

    steps: Count


class SampleConfig(Section):
    """A grid of generated images at each checkpoint: their number, and the steps of DDIM."""

    images: int = Field(16, ge=0)
    steps: Count = 50


class _DenoiserTraining(Section):
    """Common keys of training a denoiser: the network's prediction, and for a flow the draws of
    t."""

    objective: Objective = "epsilon"
    flow_times: FlowTimes = "logit-normal"

    def _check_objective(self, samples: SampleConfig, most: int) -> None:
        if self.objective == "flow":
            return
        if self.flow_times != "logit-normal":
            raise ValueError(
                f"flow_times is for objective flow, but came with {self.objective}; remove it"
            )
        if samples.steps > most:
            raise ValueError(f"samples.steps {samples.steps} is more than the chain's {most} steps")


class TrainClusterConfig(Section):
    """The cluster of the training: each worker has its share of every batch."""

    workers: Count = 1
    gpus_per_worker: float = Field(0, ge=0)
    cpus_per_worker: Count = 1
    address: str | None = None


class TrainOutputConfig(Section):
    """The output, and after how many epochs (for text-to-image: steps) it is written."""

    path: OutputPlace = "runs/train"
    checkpoint_every: Count = 10


class StepOutputConfig(TrainOutputConfig):
    """The output, written after a number of steps."""

    checkpoint_every: Count = 250


class _Training(Section):
    """The common keys of every kind of training."""

    data: DataConfig = DataConfig(split="train")
    augment: AugmentConfig = AugmentConfig()
    precision: Literal["float32", "bfloat16"] = "float32"
    cluster: TrainClusterConfig = TrainClusterConfig()
    output: TrainOutputConfig = TrainOutputConfig()
    storage: StorageConfig = StorageConfig()
    tracking: TrackingConfig = TrackingConfig(experiment="train")
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _output_is_no_data(self, info: ValidationInfo) -> Self:
        if not (info.context or {}).get(SAVED):
            refuse_output_among(self.data, self.output.path)
        return self

    @property
    @abstractmethod
    def batch_sizes(self) -> Mapping[str, int]:
        """Return the batch size of each of its stages, by the name of the key."""

    @model_validator(mode="after")
    def _workers_have_work(self) -> Self:
        for key, size in self.batch_sizes.items():
            if size < self.cluster.workers:
                raise ValueError(
                    f"{key} {size} has no image for each of {self.cluster.workers} workers; lower "
                    "cluster.workers"
                )
        return self


class TextToImageTraining(_Training, _DenoiserTraining):
    """A text-to-image latent diffusion model: VAE first, then the rest."""

    kind: Literal["text-to-image"]
    network: NetworkConfig = NetworkConfig()
    captions: CaptionConfig
    vae: StageConfig = StageConfig(steps=1500)
    denoiser: StageConfig = StageConfig(steps=3000)
    ema_decay: Fraction | None = 0.999
    samples: SampleConfig = SampleConfig(steps=20)
    output: StepOutputConfig = StepOutputConfig()

    @model_validator(mode="after")
    def _samples_have_steps(self) -> Self:
        self._check_objective(self.samples, _STABLE_DIFFUSION_STEPS)
        return self

    @property
    def batch_sizes(self) -> Mapping[str, int]:
        return {
            "vae.batch_size": self.vae.batch_size,
            "denoiser.batch_size": self.denoiser.batch_size,
        }

    @property
    def image_size(self) -> int:
        return self.network.image_size


class _EpochTraining(_Training):
    """One stage, counted in epochs: passes over the images, each in a new order."""

    epochs: Count
    optimiser: OptimiserConfig = OptimiserConfig()

    @property
    def batch_sizes(self) -> Mapping[str, int]:
        return {"optimiser.batch_size": self.optimiser.batch_size}


class DdpmTraining(_EpochTraining, _DenoiserTraining):
    """A denoiser of pixels, unconditional or conditioned on the image's class."""

    kind: Literal["ddpm"]
    network: PixelNetworkConfig = PixelNetworkConfig()
    chain: ChainConfig = ChainConfig()
    classes: list[str] | None = None
    label_dropout: float = Field(0, ge=0, lt=1)
    optimiser: OptimiserConfig = OptimiserConfig(
        learning_rate=1e-4, schedule="constant", warmup=0.01
    )
    ema_decay: Fraction | None = 0.999
    samples: SampleConfig = SampleConfig()

    _text = field_validator("classes", mode="before")(_as_text)

    @model_validator(mode="after")
    def _samples_have_steps(self) -> Self:
        self._check_objective(self.samples, self.chain.steps)
        if self.objective == "flow" and self.chain != ChainConfig():
            raise ValueError("chain is of no use to objective flow, which has no steps; remove it")
        return self

    @model_validator(mode="after")
    def _something_to_drop(self) -> Self:
        if self.label_dropout and self.classes is None:
            raise ValueError("label_dropout drops labels, and without classes there are none")
        return self

    @property
    def image_size(self) -> int:
        return self.network.image_size


class ClassifierTraining(_EpochTraining):
    """A supervised timm classifier, from random weights."""

    kind: Literal["classifier"]
    architecture: str = "resnet18"
    kwargs: dict[str, Any] = Field({})
    image_size: Count = 32
    classes: list[str] = Field(min_length=2)
    ema_decay: Fraction | None = None

    _text = field_validator("classes", mode="before")(_as_text)


class ContrastiveTraining(_EpochTraining):
    """A small CLIP: an image's true captions against `negatives` drawn ones."""

    kind: Literal["contrastive"]
    network: ClipNetworkConfig = ClipNetworkConfig()
    captions: TrueCaptionConfig
    negatives: Count = 63
    ema_decay: Fraction | None = 0.999

    @property
    def image_size(self) -> int:
        return self.network.image_size


CaptionedTraining = TextToImageTraining | ContrastiveTraining
TrainConfig = CaptionedTraining | DdpmTraining | ClassifierTraining

_KINDS: Mapping[str, type[TrainConfig]] = {
    "text-to-image": TextToImageTraining,
    "ddpm": DdpmTraining,
    "classifier": ClassifierTraining,
    "contrastive": ContrastiveTraining,
}


def load_training(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML file like `load_config`; its `kind` decides which keys are allowed.

    Raises:
        UserError: one line per mistake, with its path in the file.
    """
    before, typed = read_tree(path), [typed_path(override) for override in overrides]
    tree = overridden(before, overrides)
    if ("kind",) in typed:
        for line in give_way([_CHOICE], before, tree, typed):
            warnings.warn(line, stacklevel=2)
    return parse_training(tree, str(path))


def _errors(tree: Mapping[str, Any]) -> Mapping[tuple[tuple[str, ...], str], str]:
    kind = _KINDS.get(str(tree.get("kind")))
    return {} if kind is None else errors_of(kind, tree)


_CHOICE = Choice(
    (), "kind", frozenset(key for kind in _KINDS.values() for key in kind.model_fields), _errors
)


def parse_training(tree: Mapping[str, Any], where: str = "config") -> TrainConfig:
    """Validate a tree of plain values; raises UserError."""
    kind = tree.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        came = "nothing" if kind is None else repr(kind)
        raise UserError(f"{where}: kind: came {came}; allowed: {', '.join(_KINDS)}")
    return parse_config(_KINDS[kind], tree, where)
