"""The configuration of `zsd-ray probe` (docs/reference/probes.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from zsd_ray.config.data import DataConfig, refuse_output_among
from zsd_ray.config.pooling import Pooling, Time, pooling_name
from zsd_ray.config.precision import with_dtype
from zsd_ray.config.run import ClusterConfig, ModelConfig, TrackingConfig
from zsd_ray.config.storage import StorageConfig
from zsd_ray.settings.section import SAVED, Count, OutputPlace, Section

_ALL_POOLINGS = ["mean", "max", {"grid": 2}]

Strength = Annotated[float, Field(gt=0)]


class ProbeDataConfig(Section):
    """The images that probes are fitted to, and those that they are tested on."""

    train: DataConfig = DataConfig(split="train")
    test: DataConfig = DataConfig()

    @field_validator("train")
    @classmethod
    def _split(cls, value: DataConfig) -> DataConfig:
        said = "split" in value.model_fields_set
        return value if said else value.model_copy(update={"split": "train"})


class LinearConfig(Section):
    """Multinomial logistic regression; of several strengths of its L2 penalty the best is taken."""

    l2: Annotated[list[Strength], Field(min_length=1)] = Field([1.0, 10.0, 100.0])

    @field_validator("l2", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, int | float) else value


class KnnConfig(Section):
    """The vote of the k nearest training images."""

    k: Annotated[list[Count], Field(min_length=1)] = Field([10])
    metric: Literal["cosine", "euclidean"] = "cosine"

    @field_validator("k", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value


class ProbesConfig(Section):
    """The probes that are fitted to the features of every cell; null leaves one out."""

    linear: LinearConfig | None = LinearConfig()
    knn: KnnConfig | None = KnnConfig()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.linear is None and self.knn is None:
            raise ValueError("linear and knn are both null; leave one of them in")
        return self


class SaveConfig(Section):
    """Which linear probes may be saved as a model; the best validated of these is."""

    checkpoint: str | None = None
    t: Time | None = None
    block: str | None = None
    pooling: Pooling | None = None


class ProbeOutputConfig(Section):
    """Where features, rows, the report and the saved probe go."""

    path: OutputPlace = "runs/probe"


class ProbeConfig(Section):
    """Probes of the blocks of one model, at one checkpoint or many."""

    model: ModelConfig = ModelConfig()
    checkpoints: str | list[str] | None = None
    data: ProbeDataConfig = ProbeDataConfig()
    prompt: str = ""
    timesteps: Annotated[list[Time], Field(min_length=1)] = Field([0.0, 0.1, 0.3])
    blocks: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    pooling: Annotated[list[Pooling], Field(min_length=1)] = Field(["mean"])
    probes: ProbesConfig = ProbesConfig()
    top_k: Count = 5
    save: SaveConfig = SaveConfig()
    cluster: ClusterConfig = ClusterConfig()
    output: ProbeOutputConfig = ProbeOutputConfig()
    storage: StorageConfig = StorageConfig()
    tracking: TrackingConfig = TrackingConfig(experiment="probe")
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _output_is_no_data(self, info: ValidationInfo) -> Self:
        if not (info.context or {}).get(SAVED):
            for data in (self.data.train, self.data.test):
                refuse_output_among(data, self.output.path)
        return self

    @field_validator("pooling", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        if value == "all":
            return _ALL_POOLINGS
        return [value] if isinstance(value, str | Mapping) else value

    @model_validator(mode="after")
    def _dtype_of_all_workers(self) -> Self:
        model = with_dtype(self.model, self.cluster.gpus_per_worker)
        object.__setattr__(self, "model", model)  # the section is frozen
        return self

    @model_validator(mode="after")
    def _saves_what_is_fitted(self) -> Self:
        save = self.save
        if save != SaveConfig() and self.probes.linear is None:
            raise ValueError("save names a linear probe, and probes.linear is null; remove save")
        if save.t is not None and save.t not in self.timesteps:
            raise ValueError(f"save.t {save.t:g} is none of timesteps, {self.timesteps}")
        if save.pooling is not None and save.pooling not in self.pooling:
            names = [pooling_name(each) for each in self.pooling]
            raise ValueError(f"save.pooling {pooling_name(save.pooling)} is none of {names}")
        return self

    @model_validator(mode="after")
    def _no_twins(self) -> Self:
        lists: dict[str, list[Any]] = {
            "timesteps": self.timesteps,
            "pooling": [pooling_name(each) for each in self.pooling],
        }
        if isinstance(self.blocks, list):
            lists["blocks"] = self.blocks
        for name, values in lists.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{name} must differ from each other, but came {values}")
        return self
