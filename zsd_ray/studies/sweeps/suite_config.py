"""The configuration of `zsd-ray sweep` (models x data sets x methods), and a cell of its table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from zsd_ray.config.data import CorruptionConfig
from zsd_ray.config.run import OutputConfig, RunConfig, TrackingConfig
from zsd_ray.config.storage import StorageConfig
from zsd_ray.settings.section import Section

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Of a folder, and in the table."""

T = TypeVar("T")


def _each_once(values: list[T]) -> list[T]:
    """A list as it came; raises ValueError where it names something twice, which counts twice."""
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ValueError(f"names {twice!r} more than once")
    return values


Once = AfterValidator(_each_once)

Tree = dict[str, Any]
"""A section of a run, as plain values; it is checked when the cells are made."""

Kind = Literal["gaussian-noise", "gaussian-blur", "jpeg", "brightness", "contrast"]


class SuitePart(Section):
    """Sections of a run (docs/reference/configuration.md) that one part of a suite brings along."""

    sections_of: ClassVar[type[Section] | None] = RunConfig

    model: Tree = Field({})
    data: Tree = Field({})
    prompts: Tree = Field({})
    method: Tree = Field({})
    pruning: Tree = Field({})
    cluster: Tree = Field({})
    seed: int | None = None


class SuiteModel(SuitePart):
    """A model, and the data sets that it classifies; null: all."""

    datasets: Annotated[list[str], Once] | None = None


class SuiteDataset(SuitePart):
    """A data set; one that has several tasks is a column for each of them."""

    tasks: list[str] | Literal["all"] | None = None


class SuiteCorruptions(Section):
    """Some data sets again, with every picture damaged, at each strength."""

    of: Annotated[list[str], Field(min_length=1), Once]
    kinds: Annotated[list[Kind], Field(min_length=1), Once]
    strengths: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1), Once] = (
        Field([1, 2, 3, 4, 5])
    )


class SuiteRobustness(Section):
    """Data sets of one task, of which the others shift away from `id`; supervised baselines."""

    id: str
    ood: Annotated[list[str], Field(min_length=1), Once]
    baselines: Annotated[list[str], Field(min_length=2), Once]


class SuiteConfig(Section):
    """One sweep: every model on every data set by every method.

    A cell's run is what these parts say, a later one before an earlier: run, data set, method,
    model. A baseline has a method of its own, and so one row. With `templates` each cell is run for
    each of them by itself and for all together.
    """

    title: str
    run: SuitePart = SuitePart()
    models: Annotated[dict[Name, SuiteModel], Field(min_length=1)]
    datasets: Annotated[dict[Name, SuiteDataset], Field(min_length=1)]
    methods: Annotated[dict[Name, SuitePart], Field(min_length=1)] = Field(
        {"diffusion-classifier": SuitePart()}
    )
    templates: Annotated[list[str], Field(min_length=2)] | None = None
    corruptions: SuiteCorruptions | None = None
    robustness: SuiteRobustness | None = None
    output: OutputConfig = OutputConfig(path="runs/suite")
    storage: StorageConfig = StorageConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        wanted: dict[str, tuple[list[str], Collection[str]]] = {
            f"models.{name}.datasets": (model.datasets or [], self.datasets)
            for name, model in self.models.items()
        }
        if self.corruptions is not None:
            wanted["corruptions.of"] = (self.corruptions.of, self.datasets)
        if self.robustness is not None:
            wanted["robustness.id"] = ([self.robustness.id], self.datasets)
            wanted["robustness.ood"] = (self.robustness.ood, self.datasets)
            wanted["robustness.baselines"] = (self.robustness.baselines, self.models)
        for key, (names, known) in wanted.items():
            odd = next((name for name in names if name not in known), None)
            if odd is not None:
                raise ValueError(f"{key} names {odd!r}, which is none of {', '.join(known)}")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    dataset: as the suite names it; task, corruption: of it, where there is one.
    template: the template by itself; None: what the data set or the suite says, or all together.
    together: whether it is the one with all templates of a study.
    """

    model: str
    dataset: str
    method: str
    task: str | None = None
    corruption: CorruptionConfig | None = None
    template: str | None = None
    together: bool = False

    @property
    def column(self) -> str:
        """What the cell is about, in words."""
        parts = [self.dataset]
        if self.task is not None:
            parts.append(self.task)
        if self.corruption is not None:
            parts.append(f"{self.corruption.kind} {self.corruption.strength}")
        return " ".join(parts)

    @property
    def name(self) -> str:
        """In one line, for people."""
        study = [self.template or ("all templates" if self.together else "")]
        return " / ".join(part for part in (self.model, self.column, self.method, *study) if part)


@dataclass(frozen=True)
class CellResult:
    """The result of one run of a sweep; None where there is none.

    path: its output. status: of its run.json; "refused" where it could not start.
    metric: what `value` is: accuracy over images, or its mean over classes; low, high: its 95%
        interval.
    chance: what guessing gives; p_chance: how likely as far from it is by guessing (two-sided).
    evaluations_per_image, seconds: what it took.
    reason: why it is not whole.
    """

    cell: Cell
    path: str
    status: str
    metric: Literal["accuracy", "mean-per-class"]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    correct: int = 0
    images: int = 0
    errors: int = 0
    chance: float | None = None
    p_chance: float | None = None
    evaluations_per_image: float | None = None
    seconds: float | None = None
    mlflow_run_id: str | None = None
    reason: str | None = None
