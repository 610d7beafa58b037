"""The run configuration: one YAML file, validated before anything starts.

Every section is frozen and refuses unknown keys. Keys are described in
docs/reference/configuration.md; this module defines the allowed values.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.data import DataConfig, refuse_output_among
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.method_table import MethodConfig
from zsd_ray.config.precision import Dtype, with_dtype
from zsd_ray.config.presets import Preset, departures, with_preset
from zsd_ray.config.screen import ScreenConfig
from zsd_ray.config.storage import StorageConfig
from zsd_ray.records.cost import RunSize
from zsd_ray.records.errors import UserError
from zsd_ray.rules.anytime import AnytimePruning
from zsd_ray.rules.table import PruningConfig
from zsd_ray.settings.explain import explained
from zsd_ray.settings.giving_way import choices_of, give_way
from zsd_ray.settings.section import SAVED, Count, Device, OutputPlace, Place, Section
from zsd_ray.settings.tree import apply_override, overridden, read_tree, typed_path

if TYPE_CHECKING:
    ModelFamily = str
else:
    ModelFamily = Literal[tuple(FAMILIES)]

_SOME_TAKE = {key for family in FAMILIES.values() for key in family.all_keys}
"""Keys of the model section that not every family takes."""


class ModelConfig(Section):
    """The model that scores, and how its network runs.

    `path` is `builtin:NAME`, a folder, an fsspec URL of a folder, or a name on the model hub, where
    `revision` pins a commit and `variant` ("fp16") chooses files. Weights are safetensors unless
    `pickle` allows files that can run code. For a user's own class (family custom) it is
    `package.module:Class` or `file.py:Class`, and `kwargs` are its arguments.
    """

    chooses: ClassVar[str | None] = "family"

    family: ModelFamily = "stable-diffusion"
    path: Place = "builtin:digits"
    revision: str | None = None
    variant: str | None = None
    pickle: bool = False
    pretrained: str | None = None
    dtype: Literal["auto", Dtype] = "auto"
    device: Device = "auto"
    compile: bool | None = None
    max_difference: float | None = Field(None, gt=0)
    image_size: Count | None = None
    labels: list[str] | None = None
    max_prompt_tokens: Annotated[int, Field(ge=1, le=512)] | None = None
    kwargs: dict[str, Any] = Field({})

    @classmethod
    def idle(cls, tree: Mapping[str, Any]) -> list[str]:
        family = FAMILIES.get(str(tree.get("family", "stable-diffusion")))
        taken = () if family is None else family.all_keys
        return [key for key in tree if key in _SOME_TAKE and key not in taken]


class PromptConfig(Section):
    """The text for each class.

    `classes` is a list of names, a mapping from the data's label to a name, a text file with one
    name per line, or null for the data's own class names. Each template has one `{}`; `openai`
    stands for the 80 of CLIP's evaluation.
    """

    classes: list[str] | dict[str, str] | str | None = None
    templates: Annotated[list[str], Field(min_length=1)] | Literal["openai"] = Field(
        ["a photo of a {}."]
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _names_are_text(cls, classes: Any) -> Any:
        # YAML reads 0 and 1 as numbers; as names of classes or labels they are text.
        def text(value: Any) -> Any:
            return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

        if isinstance(classes, Mapping):
            twice = {text(label): label for label in classes}
            if len(twice) < len(classes):
                label = next(label for label in classes if label != twice[text(label)])
                raise ValueError(f"has the label {text(label)} twice, as a number and as text")
            classes = {text(label): text(name) for label, name in classes.items()}
            parts = [*classes, *classes.values()]
        elif isinstance(classes, list):
            classes = parts = [text(name) for name in classes]
        else:
            parts = [] if classes is None else [classes]
        for odd in [part for part in parts if not isinstance(part, str)][:1]:
            raise ValueError(
                "takes a list of names, a mapping from label to name, a file, or null, but came "
                f"{str(odd)[:60]!r} (quote names that YAML reads as something else)"
            )
        return classes

    @field_validator("templates")
    @classmethod
    def _one_slot(cls, templates: list[str] | str) -> list[str] | str:
        if isinstance(templates, str):
            return templates
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"each template needs exactly one {{}}, but came {template!r}")
        if len(set(templates)) != len(templates):
            raise ValueError("templates must differ from each other")
        return templates


class WorkersConfig(Section):
    """The number of model workers: a single number is both min and max."""

    min: int = Field(ge=0)
    max: Count

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must be at most max ({self.max})")
        return self


UNMEASURED = 64
"""Rows of a forward where no GPU was tried: a processor's speed hardly depends on them."""


class ClusterConfig(Section):
    """The cluster of the run; nothing here changes a result.

    A worker that is silent for `hang_seconds`, or for ten times the expected time if that is
    longer, is abandoned.
    """

    workers: WorkersConfig = WorkersConfig(min=2, max=2)
    gpus_per_worker: float = Field(0, ge=0)
    cpus_per_worker: Count = 1
    address: str | None = None
    batch_size: Count | Literal["auto"] = 64
    hang_seconds: float = Field(120, gt=0)

    @property
    def rows(self) -> int:
        """Return the rows of a forward, as far as known before a GPU has been tried."""
        return UNMEASURED if self.batch_size == "auto" else self.batch_size

    @field_validator("workers", mode="before")
    @classmethod
    def _one_number(cls, workers: object) -> object:
        if isinstance(workers, int) and not isinstance(workers, bool):
            return {"min": workers, "max": workers}
        if not isinstance(workers, Mapping | WorkersConfig):
            raise ValueError(f"takes an integer or {{min, max}}, but came {json.dumps(workers)}")
        return workers


class OutputConfig(Section):
    """The place of the results.

    Decided rows wait at most `flush_seconds` in memory; the state of undecided images is saved
    every `checkpoint_seconds`.
    """

    path: OutputPlace = "runs/run"
    raw_scores: bool = False
    flush_seconds: float = Field(30, gt=0)
    checkpoint_seconds: float = Field(60, gt=0)


class TrackingConfig(Section):
    """MLflow: `auto` (a SQLite file beside the output), `off`, or a tracking URI.

    `parent` is the id of the MLflow run under which this one is shown.
    """

    mlflow: str = "auto"
    parent: str | None = None
    experiment: str = Field("zsd_ray", min_length=1)

    @field_validator("mlflow", mode="before")
    @classmethod
    def _yaml_off(cls, value: object) -> object:
        return "off" if value is False or value is None else value  # YAML 1.1 reads `off` as false


class RunConfig(Section):
    """One evaluation run; `preset` names settings of `method` and `pruning` (config/presets.py)."""

    preset: Preset = "default"
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    prompts: PromptConfig = PromptConfig()
    method: MethodConfig = DiffusionClassifierMethod()
    pruning: PruningConfig = AnytimePruning()
    screen: ScreenConfig | None = None
    cluster: ClusterConfig = ClusterConfig()
    output: OutputConfig = OutputConfig()
    storage: StorageConfig = StorageConfig()
    tracking: TrackingConfig = TrackingConfig()
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _output_is_no_data(self, info: ValidationInfo) -> Self:
        if not (info.context or {}).get(SAVED):
            refuse_output_among(self.data, self.output.path)
        return self

    @model_validator(mode="after")
    def _dtype_of_all_workers(self) -> Self:
        # What half precision does to other methods' numbers has not been measured.
        half = self.method.weighted or self.method.of_classifier
        model = with_dtype(self.model, self.cluster.gpus_per_worker, half)
        object.__setattr__(self, "model", model)  # the section is frozen
        return self

    @property
    def draw_method(self) -> DiffusionClassifierMethod:
        """Return the method section of a run whose scores can be reweighted, or are a
        baseline's."""
        assert isinstance(self.method, DiffusionClassifierMethod)
        return self.method

    def size(self, n_classes: int) -> RunSize:
        """Return everything that a score's cost depends on, for a run of so many classes."""
        n_racing = n_classes
        if self.screen is not None and self.screen.run is not None:
            n_racing = min(n_classes, self.screen.top)
        return RunSize(n_classes, n_racing, len(self.prompts.templates))

    @model_validator(mode="before")
    @classmethod
    def _default_rule(cls, value: Any) -> Any:
        # A discriminated union needs its tag.
        if isinstance(value, Mapping) and isinstance(value.get("pruning"), Mapping):
            return {**value, "pruning": {"rule": "anytime", **value["pruning"]}}
        return value

    @model_validator(mode="before")
    @classmethod
    def _named_settings(cls, value: Any) -> Any:
        # Of validators of this kind the last comes first: the default rule is of what is left.
        return with_preset(value) if isinstance(value, Mapping) else value


class ResolvedPrompts(PromptConfig):
    """Prompts with the templates as a list."""

    templates: list[str]


class ResolvedConfig(RunConfig):
    """A run's configuration with all derived values filled in."""

    prompts: ResolvedPrompts = ResolvedPrompts(templates=["{}"])

    @classmethod
    def of(cls, config: RunConfig) -> ResolvedConfig:
        """Make it from settings that have been validated and filled in before."""
        prompts = config.prompts
        resolved = ResolvedPrompts.model_construct(prompts.model_fields_set, **dict(prompts))
        return cls.model_construct(
            config.model_fields_set, **(dict(config) | {"prompts": resolved})
        )


ConfigT = TypeVar("ConfigT", bound=Section)


def load_config(
    kind: type[ConfigT],
    path: str | Path,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    preset: str | None = None,
) -> ConfigT:
    """Read a YAML file, apply `a.b=value` overrides, and validate it as `kind`.

    Raises:
        UserError: one line per mistake, with its path in the file.
    """
    before, typed = read_tree(path), [typed_path(override) for override in overrides]
    tree = overridden(before, overrides)
    for line in give_way(choices_of(kind, typed), before, tree, typed):
        warnings.warn(line, stacklevel=2)
    if preset is not None:
        tree["preset"] = preset
    if limit is not None:
        apply_override(tree, "data.limit=1")
        tree["data"]["limit"] = limit
    config = parse_config(kind, tree, str(path))
    if isinstance(config, RunConfig) and tree.get("preset"):
        beside = ", ".join(departures_of(config.model_dump(mode="json")))
        if beside:
            warnings.warn(f"preset {config.preset}, but with {beside}", stacklevel=2)
    return config


def departures_of(config: Mapping[str, Any]) -> list[str]:
    """Return keys of a resolved configuration, as a run saved it, that differ from its preset."""
    tree = {name: config[name] for name in ("preset", "data") if name in config}
    return departures(config, parse_config(RunConfig, tree, saved=True).model_dump(mode="json"))


def parse_config(
    kind: type[ConfigT], tree: Mapping[str, Any], where: str = "config", saved: bool = False
) -> ConfigT:
    """Validate a tree of plain values as `kind`; raises UserError.

    Args:
        saved: whether a run wrote it, with keys that the user did not set.
    """
    try:
        return kind.model_validate(tree, context={SAVED: saved})
    except ValidationError as error:
        raise UserError(f"{where}: {'; '.join(explained(kind, error))}") from error
