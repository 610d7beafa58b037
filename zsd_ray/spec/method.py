"""How one (image, class, draw) is scored: the `method` section, and what may be fitted for it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from zsd_ray.spec.section import Count, Section, SnrRange, inside_unit_interval

Loss = Literal["l2", "l1"]
Timesteps = Literal["uniform", "stratified", "importance", "grid"]
Weighting = Literal[
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
"""Where t may lie by default: neither end can be weighted (docs/decisions, t-range)."""


class PilotConfig(Section):
    """A run that has no profile makes one: of its first `images`, every class gets `draws`."""

    images: Count = 32
    draws: Count = 40


class FittedOn(Section):
    """What a profile was fitted on.

    run, identity: its output, without passwords, and its hash.
    images, draws: how many of either; evaluations: what they cost.
    share, salt: of a labelled fit, which of the run's images (analysis/fit_share.py); None:
        all.
    """

    run: str
    identity: str
    images: Count
    draws: Count
    evaluations: Count
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    salt: str | None = None


class TimeProfile(Section):
    """What is known of the eps-errors by t: piecewise constant over buckets of it.

    edges: (B + 1,) of the buckets, ascending.
    sd: (B,) standard deviation, within a draw, of the eps-error over classes.
    signal: (B,) how far a draw tells other classes from the image's decision, in standard
        deviations; informative: the range of t, whole buckets, in which it is strong.
    weights: (B,) of the eps-error, learned from labels; None: not learned.
    """

    loss: Loss
    edges: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    sd: tuple[Annotated[float, Field(gt=0)], ...]
    signal: tuple[Annotated[float, Field(ge=0)], ...]
    informative: tuple[float, float]
    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    fitted_on: FittedOn

    @model_validator(mode="after")
    def _a_value_each_bucket(self) -> Self:
        n = len(self.edges) - 1
        if n < 1 or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError("edges must be two or more numbers that rise")
        for name in ("sd", "signal", "weights"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise ValueError(f"{name} needs {n} values, one a bucket, but has {len(values)}")
        low, high = self.informative
        if not self.edges[0] <= low < high <= self.edges[-1]:
            raise ValueError(f"informative [{low:g}, {high:g}] is no range within the edges")
        if self.weights is not None and not any(self.weights):
            raise ValueError("weights are all 0")
        return self


class DiffusionClassifierMethod(Section):
    """Which draws an image gets, and what a score is; see diffusion/draws.py and weighting.py.

    `classifier` is a baseline's own score (models/base.py), and takes no other key. `profile` is a
    file, of which `fitted` is the content; a run without either makes its own from a pilot.
    `grid_points` and `grid_stages` follow from the rule where they are not set. Times are those at
    which the signal-to-noise ratio alpha^2 / sigma^2 is in `snr_range`, or those of `t_range`: by
    default what the profile finds informative where the weighting is standardised, else FULL_RANGE.
    """

    name: Literal["diffusion-classifier", "classifier"] = "diffusion-classifier"
    weighting: Weighting = "standardised"
    loss: Loss = "l2"
    timesteps: Timesteps = "stratified"
    grid_points: Count | None = None
    grid_stages: Annotated[list[Count], Field(min_length=1)] | None = None
    antithetic: bool = False
    t_range: tuple[float, float] | Literal["auto"] | None = "auto"
    snr_range: SnrRange | None = None
    normaliser: Literal["none", "null-prompt"] = "none"
    profile: str | None = None
    fitted: TimeProfile | None = None
    pilot: PilotConfig = PilotConfig()

    @property
    def null_prompt(self) -> bool:
        """Whether the empty prompt is encoded, too."""
        return self.normaliser == "null-prompt"

    @property
    def takes_profile(self) -> bool:
        """Whether weights or times depend on what was fitted."""
        if self.name == "classifier":
            return False
        fitted = self.weighting in ("standardised", "learned") or self.timesteps == "importance"
        return fitted or self.t_range == "auto"

    def for_pilot(self) -> Self:
        """The same errors, with what needs no profile: stratified times and no weights."""
        return self.model_copy(
            update={
                "weighting": "simple",
                "timesteps": "stratified",
                "t_range": FULL_RANGE if self.t_range == "auto" else self.t_range,
                "grid_points": None,
                "grid_stages": None,
                "antithetic": False,
                "normaliser": "none",
            }
        )

    def with_profile(self, profile: TimeProfile) -> Self:
        """Put a profile in the place of its file or pilot."""
        t_range = profile.informative if self.t_range == "auto" else self.t_range
        return self.model_copy(update={"profile": None, "fitted": profile, "t_range": t_range})

    @property
    def takes_pilot(self) -> bool:
        """Whether what they depend on is still to be measured on the run's own first images."""
        return self.takes_profile and self.profile is None and self.fitted is None

    @model_validator(mode="before")
    @classmethod
    def _range_follows_weighting(cls, value: Any) -> Any:
        # The papers' weightings name one estimate over all times.
        if isinstance(value, Mapping) and value.get("snr_range") is not None:
            if value.get("t_range") is not None:
                raise ValueError("t_range and snr_range both say which times are drawn; remove one")
            return {**value, "t_range": None}
        if isinstance(value, Mapping) and value.get("t_range") is None:
            fitted = value.get("weighting", "standardised") == "standardised"
            return {**value, "t_range": "auto" if fitted else FULL_RANGE}
        return value

    @field_validator("weighting", mode="before")
    @classmethod
    def _alias(cls, weighting: object) -> object:
        return "simple" if weighting == "uniform-eps" else weighting

    @field_validator("t_range")
    @classmethod
    def _inside_unit_interval(
        cls, t_range: tuple[float, float] | Literal["auto"] | None
    ) -> tuple[float, float] | Literal["auto"] | None:
        return inside_unit_interval(t_range) if isinstance(t_range, tuple) else t_range

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if self.profile is not None and self.fitted is not None:
            raise ValueError("profile is a file and fitted its content; remove one")
        given = next((key for key in ("profile", "fitted") if getattr(self, key) is not None), None)
        if given and not self.takes_profile:
            raise ValueError(
                f"{given} is for weighting standardised or learned, timesteps importance or "
                f"t_range auto, but came with weighting {self.weighting}, timesteps "
                f"{self.timesteps} and another t_range; remove it"
            )
        if self.weighting == "learned" and not given:
            raise ValueError(
                "weighting learned needs weights that were fitted to labels: make a file of them "
                "with `zsd-ray fit learned RUN`, and name it in method.profile"
            )
        if self.antithetic and self.timesteps == "uniform":
            raise ValueError(
                "antithetic draws share a t in pairs, which only pays with timesteps stratified, "
                "importance or grid, but came with uniform"
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
        """Raise ValueError where a profile is not of this section's errors and times."""
        if profile.loss != self.loss:
            raise ValueError(f"the profile is of loss {profile.loss}, and loss is {self.loss}")
        if self.weighting == "learned" and profile.weights is None:
            raise ValueError(
                "the profile holds no learned weights; make one with `zsd-ray fit learned RUN`, "
                "or set weighting: standardised"
            )
        if not isinstance(self.t_range, tuple):
            return
        (low, high), first, last = self.t_range, profile.edges[0], profile.edges[-1]
        if low < first or high > last:
            raise ValueError(
                f"the profile covers t in [{first:g}, {last:g}], and t_range is "
                f"[{low:g}, {high:g}]; narrow t_range"
            )
