"""The `method` sections of the diffusion classifier and of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from zsd_ray.config.method_section import Method
from zsd_ray.config.time_profile import Loss, TimeProfile
from zsd_ray.records.cost import ONE_EACH, Cost, RunSize
from zsd_ray.settings.section import SAVED, Count, Section, SnrRange, TimeRange

Timesteps = Literal["uniform", "stratified", "importance", "grid"]
Weighting = Literal[
    "split",
    "simple",
    "vdm",
    "heuristic",
    "x-error",
    "velocity",
    "training-loss",
    "standardised",
    "learned",
]

FULL_RANGE = (0.02, 0.98)
"""The papers' range of t, less both ends, which cannot be weighted (docs/decisions, t-range)."""

DEFAULT_SNR_RANGE = (0.05, 10.0)
"""Signal-to-noise ratios alpha^2 / sigma^2 of the times that are drawn by default: on every model's
schedule the same ones (docs/decisions, the-default-estimator)."""


class ClassOffsetConfig(Section):
    """The first `images` of a run are scored for all classes with `draws` each before it begins,
    and the model's bias for some classes, estimated from them, is subtracted
    (stats/class_offset.py)."""

    images: int = Field(32, ge=4, lt=2**31)
    draws: int = Field(40, ge=10, lt=2**31)


class DiffusionClassifierMethod(Method):
    """The draws of an image, and the definition of a score; see diffusion/draws.py and
    weighting.py.

    Times are those at which the signal-to-noise ratio is in `snr_range`, or those of `t_range`; if
    neither is set, DEFAULT_SNR_RANGE applies. `profile` is a file with the content `fitted`;
    timesteps importance without one follow the usual spread of errors. `fitted` is written only by
    runs. `grid_points` and `grid_stages` follow from the rule if they are not set.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.diffusion_classifier:DiffusionClassifier"
    weighted: ClassVar[bool] = True

    name: Literal["diffusion-classifier"] = "diffusion-classifier"
    weighting: Weighting = "split"
    loss: Loss = "l2"
    timesteps: Timesteps = "importance"
    grid_points: Count | None = None
    grid_stages: Annotated[list[Count], Field(min_length=1)] | None = None
    t_range: TimeRange | None = None
    snr_range: SnrRange | None = Field(DEFAULT_SNR_RANGE)
    normaliser: Literal["none", "null-prompt"] = "none"
    class_offset: ClassOffsetConfig | None = None
    profile: str | None = None
    fitted: TimeProfile | None = None

    @property
    def null_prompt(self) -> bool:
        return self.normaliser == "null-prompt"

    def cost(self, size: RunSize) -> Cost:
        return Cost(size.n_templates, int(self.null_prompt))

    def evaluations_per_batch(self, rows: int, size: RunSize) -> int:
        return rows

    @property
    def takes_profile(self) -> bool:
        """Whether weights or times can depend on a profile."""
        return self.needs_profile or self.timesteps == "importance"

    @property
    def needs_profile(self) -> bool:
        """Whether the weights need a profile."""
        return self.weighting in ("standardised", "learned")

    def with_profile(self, profile: TimeProfile) -> Self:
        """Return the section with the profile in the place of its file."""
        return self.model_copy(update={"profile": None, "fitted": profile})

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: Any, info: ValidationInfo) -> Any:
        """Accept keys saved by a run of an earlier version, and refuse them from users."""
        if not isinstance(value, Mapping):
            return value
        if (info.context or {}).get(SAVED):
            return _saved_now(value)
        if "pilot" in value:
            raise ValueError(
                "pilot is no key any more: no run fits its own weights or times. Weighting "
                "standardised or learned and timesteps importance take a profile, which "
                "`zsd-ray fit` makes of a saved run; remove pilot"
            )
        if value.get("t_range") == "auto":
            raise ValueError(
                "t_range auto is no value any more; snr_range says for every model which times "
                "are drawn, and where neither is set it is "
                f"[{DEFAULT_SNR_RANGE[0]:g}, {DEFAULT_SNR_RANGE[1]:g}]; remove t_range"
            )
        if isinstance(value.get("fitted"), Mapping):
            raise ValueError(
                "fitted is what a run writes of its profile, and no key of yours; name the "
                "profile's file in method.profile"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _one_range(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        ranges = {key: value.get(key) for key in ("t_range", "snr_range")}
        if None not in ranges.values():
            raise ValueError("t_range and snr_range both say which times are drawn; remove one")
        if ranges["t_range"] is not None:
            return {**value, "snr_range": None}
        if ranges["snr_range"] is None:
            return {**value, "snr_range": DEFAULT_SNR_RANGE}
        return value

    @field_validator("weighting", mode="before")
    @classmethod
    def _alias(cls, weighting: object) -> object:
        return "simple" if weighting == "uniform-eps" else weighting

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if self.profile is not None and self.fitted is not None:
            raise ValueError("profile is a file and fitted its content; remove one")
        given = next((key for key in ("profile", "fitted") if getattr(self, key) is not None), None)
        if given and not self.takes_profile:
            raise ValueError(
                f"{given} is for weighting standardised or learned, or timesteps importance, but "
                f"came with weighting {self.weighting} and timesteps {self.timesteps}; remove it"
            )
        if self.needs_profile and not given and self.weighted:
            raise ValueError(
                f"weighting {self.weighting} needs a profile: make one of a saved run with "
                f"`zsd-ray fit {self.weighting} RUN`, and name the file in method.profile"
            )
        for key in ("grid_points", "grid_stages"):
            if getattr(self, key) is not None and self.timesteps != "grid":
                raise ValueError(
                    f"{key} is for timesteps grid, but came with {self.timesteps}; remove it"
                )
        if self.fitted is not None:
            self.check_fits(self.fitted)
        return self

    def check_fits(self, profile: TimeProfile) -> None:
        """Raise ValueError if a profile is not of this section's errors and times."""
        if profile.loss != self.loss:
            raise ValueError(f"the profile is of loss {profile.loss}, and loss is {self.loss}")
        if self.weighting == "learned" and profile.weights is None:
            raise ValueError(
                "the profile holds no learned weights; make one with `zsd-ray fit learned RUN`, "
                "or set weighting: standardised"
            )
        if self.t_range is None:
            return
        (low, high), first, last = self.t_range, profile.edges[0], profile.edges[-1]
        if low < first or high > last:
            raise ValueError(
                f"the profile covers t in [{first:g}, {last:g}], and t_range is "
                f"[{low:g}, {high:g}]; narrow t_range"
            )


class ClassifierMethod(DiffusionClassifierMethod):
    """A baseline's own score (models/denoiser.py), one draw without noise; the other keys do not
    apply, and occur only in saved runs of baselines."""

    implementation: ClassVar[str] = "zsd_ray.methods.baseline:Baseline"
    weighted: ClassVar[bool] = False
    of_classifier: ClassVar[bool] = True

    name: Literal["classifier"] = "classifier"  # type: ignore[assignment]

    def cost(self, size: RunSize) -> Cost:
        """Return one evaluation per score: templates are averaged before the model sees an
        image."""
        return ONE_EACH

    def evaluations_per_batch(self, rows: int, size: RunSize) -> int:
        """Return evaluations per batch: a classifier's rows are images, each with all classes."""
        return rows * size.n_classes


def _saved_now(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a saved section, perhaps of a version that fitted weights or times to a pilot and
    saved the result, or that had antithetic draws.

    Raises:
        ValueError: it had them.
    """
    kept = {key: value for key, value in saved.items() if key not in ("pilot", "antithetic")}
    if saved.get("antithetic"):
        raise ValueError(
            "antithetic true is of an earlier version of zsd_ray, which alone can repeat this "
            "run's draws"
        )
    fitted = kept.get("fitted")
    if kept.get("t_range") == "auto":
        informative = fitted.get("informative") if isinstance(fitted, Mapping) else None
        kept["t_range"] = informative or FULL_RANGE
    return kept
