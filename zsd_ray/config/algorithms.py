"""The seven algorithms of Startsev & Singh, "Zero-shot image classification with diffusion models",
as `method` sections, and the union of all sections.

docs/reference/methods.md describes each, and which of these keys the paper leaves open. A *draw* is
the unit that is repeated and averaged: a noise sample, a probe, an order of the classes. Their
number is `pruning.draws`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from zsd_ray.config.classifier_method import FULL_RANGE
from zsd_ray.config.method_section import Capability, Method
from zsd_ray.records.cost import Cost, RunSize
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.rules.table import PruningConfig
from zsd_ray.rules.vote import VotePruning
from zsd_ray.settings.section import Count, Place, Section, TimeRange

Time = Annotated[float, Field(gt=0, lt=1)]
"""At 1 a straight path has nothing of the image left."""

Steps = Annotated[int, Field(ge=1, le=10_000)]


class AlgorithmMethod(Method):
    """The common base of the algorithms.

    Attributes:
        draws: the number to average unless `pruning` sets it.
    """

    draws: ClassVar[int] = 1

    @property
    def n_levels(self) -> int:
        """Return the number of noise levels of draws: draw i is at level i modulo their number."""
        return 1

    @property
    def default_pruning(self) -> PruningConfig:
        """Return the `pruning` section of a run that has none."""
        return NoPruning(rule="none", draws=self.draws)

    @abstractmethod
    def evaluations(self, n_classes: int) -> tuple[int, int]:
        """Return the cost in network evaluations: per (class, draw) with one template, and extra
        per draw."""

    def cost(self, size: RunSize) -> Cost:
        per_score, per_draw = self.evaluations(size.n_racing)
        return Cost(per_score * size.n_templates, per_draw, self.whole, self.slack)

    def evaluations_per_batch(self, rows: int, size: RunSize) -> int:
        """Return evaluations per batch: at least those of one draw if that must stay whole."""
        whole = self.cost(size).of_draw(size.n_racing) if self.whole else 1
        return max(rows * self.in_sequence, whole)

    def _refuse(self, keys: tuple[str, ...], company: str) -> None:
        """Raise ValueError if one of these keys, which do not apply here, is set."""
        for key in keys:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is of no use with {company}; remove it")

    @property
    def in_sequence(self) -> int:
        """Return the number of sequential evaluations of a row."""
        return 1

    @property
    def slack(self) -> int:
        """Return the factor by which a score may exceed its estimated cost; a worker is allowed ten
        times that."""
        return 1


class ClipConfig(Section):
    """An open_clip model, like those of family clip: an architecture and its weights."""

    path: Place
    pretrained: str | None = None


class _Denoising(AlgorithmMethod):
    """Noise, denoise by `steps` of DDIM, and compare.

    clip: the open_clip model that embeds both for `distance: clip`.
    """

    steps: Steps = 10
    guidance_scale: float = Field(1.0, ge=0)
    distance: Literal["latent", "pixel", "clip"] = "latent"
    clip: ClipConfig | None = None

    @property
    def null_prompt(self) -> bool:
        return self.guidance_scale != 1.0

    @property
    def null_key(self) -> tuple[str, str]:
        return "method.guidance_scale", "1.0"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset() if self.distance == "latent" else frozenset({"decode"})

    @property
    def in_sequence(self) -> int:
        return self.evaluations(0)[0]

    def evaluations(self, n_classes: int) -> tuple[int, int]:
        return self.steps * (2 if self.null_prompt else 1), 0

    @model_validator(mode="after")
    def _clip_goes_with_its_distance(self) -> Self:
        if (self.clip is not None) != (self.distance == "clip"):
            raise ValueError(
                "distance clip and a clip section (path, pretrained) go together, but came "
                f"distance {self.distance} {'with' if self.clip else 'without'} one"
            )
        return self


class NoiseDenoiseMethod(_Denoising):
    """Algorithm 3: noise to `level`, denoise under each class's prompt; the nearest wins.

    A draw is one noise.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.noise_denoise:NoiseDenoise"
    draws: ClassVar[int] = 4

    name: Literal["noise-denoise"] = "noise-denoise"
    level: Time = 0.6

    @property
    def noise_levels(self) -> tuple[float, ...]:
        return (self.level,)


class NoiseDenoiseVoteMethod(_Denoising):
    """Algorithm 4: like algorithm 3, but at several levels, each of which has a vote.

    Draw i is at level i modulo their number.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.noise_denoise:NoiseDenoise"

    name: Literal["noise-denoise-vote"] = "noise-denoise-vote"
    levels: list[Time] = Field([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], min_length=1)

    @property
    def noise_levels(self) -> tuple[float, ...]:
        return tuple(self.levels)

    @property
    def n_levels(self) -> int:
        return len(self.levels)

    @property
    def default_pruning(self) -> PruningConfig:
        return VotePruning(rule="vote", levels=self.n_levels, draws=self.n_levels)


class DdimKnnMethod(AlgorithmMethod):
    """Algorithm 2: invert the image under each class, and compare the latents' distances.

    neighbours: the number of other classes' latents over which the distance is averaged.
    choose: the class whose latent is nearest to the others', as in the pseudocode, or the outlier,
        as in the text: the default, as it finds 19 of 100 test digits and nearest 7.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.ddim_knn:DdimKnn"
    whole: ClassVar[bool] = True
    random: ClassVar[bool] = False

    name: Literal["ddim-knn"] = "ddim-knn"
    level: Time = 0.98
    steps: Steps = 20
    neighbours: Count = 1
    choose: Literal["nearest", "outlier"] = "outlier"

    @property
    def in_sequence(self) -> int:
        return self.steps

    def evaluations(self, n_classes: int) -> tuple[int, int]:
        return self.steps, 0


class ExactLikelihoodMethod(AlgorithmMethod):
    """Algorithm 1: log p(x | class) by the probability-flow ODE.

    probe: of Hutchinson's estimate of the divergence; a draw is one probe.
    solver: adaptive Dormand & Prince with rtol and atol, or `steps` fixed steps.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.exact_likelihood:ExactLikelihood"
    counted: ClassVar[bool] = True

    name: Literal["exact-likelihood"] = "exact-likelihood"
    solver: Literal["adaptive", "heun", "rk4"] = "adaptive"
    rtol: float = Field(1e-3, gt=0)
    atol: float = Field(1e-3, gt=0)
    steps: Steps = 20
    probe: Literal["rademacher", "gaussian"] = "rademacher"
    t_range: TimeRange = FULL_RANGE

    @property
    def in_sequence(self) -> int:
        return self.evaluations(0)[0]

    @property
    def slack(self) -> int:
        return _ADAPTIVE_SLACK if self.solver == "adaptive" else 1

    @model_validator(mode="after")
    def _keys_of_its_solver(self) -> Self:
        keys = ("steps",) if self.solver == "adaptive" else ("rtol", "atol")
        self._refuse(keys, f"solver {self.solver}")
        return self

    def evaluations(self, n_classes: int) -> tuple[int, int]:
        if self.solver == "adaptive":
            return _ADAPTIVE_GUESS, 0
        return self.steps * (2 if self.solver == "heun" else 4), 0


_ADAPTIVE_GUESS = 40
"""Evaluations of one trajectory, before any is known: as of digits, at the default tolerances."""

_ADAPTIVE_SLACK = 8
"""500 steps of six evaluations are 75 times the guess."""


class CrossAttentionMethod(AlgorithmMethod):
    """Algorithm 5: one prompt names all classes; the class with the most attention wins.

    times: noise levels at which maps are collected, and averaged.
    resolutions: heights of the maps to use; none: all of the U-Net.
    aggregate: mean attention, or the share of places above `threshold` times the largest.
    group: most classes in one prompt; none: as many as fit. More classes play a tournament.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.cross_attention:CrossAttention"
    whole: ClassVar[bool] = True
    draws: ClassVar[int] = 4
    counted: ClassVar[bool] = True

    name: Literal["cross-attention"] = "cross-attention"
    times: list[Time] = Field([0.3, 0.5, 0.7], min_length=1)
    resolutions: list[Count] | None = None
    aggregate: Literal["mean", "count"] = "mean"
    threshold: float = Field(0.5, gt=0, lt=1)
    group: Annotated[int, Field(ge=2)] | None = None

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"prompts", "attention", "tokens"})

    @model_validator(mode="after")
    def _threshold_counts(self) -> Self:
        if self.aggregate == "mean":
            self._refuse(("threshold",), "aggregate mean")
        return self

    def evaluations(self, n_classes: int) -> tuple[int, int]:
        size = self.group or _NAMES_GUESS
        n_prompts, n_left = 0, n_classes
        while n_left > 1:
            n_groups = -(-n_left // size)
            n_prompts += n_groups
            n_left = n_groups
        return 0, len(self.times) * max(1, n_prompts)


_NAMES_GUESS = 19
"""Names that a prompt holds, before any is known: 77 tokens of CLIP, names as ImageNet's."""


class _Learning(AlgorithmMethod):
    """Common keys of learning on each image, by steps of `batch_size` pairs of time and noise."""

    whole: ClassVar[bool] = True
    counted: ClassVar[bool] = True

    steps: Steps = 50
    batch_size: Count = 4
    t_range: TimeRange = FULL_RANGE

    @property
    def in_sequence(self) -> int:
        return self.steps

    def evaluations(self, n_classes: int) -> tuple[int, int]:
        return 0, self.steps * self.batch_size


class TextualInversionMethod(_Learning):
    """Algorithm 6: learn a token for the image; the class whose name lies nearest wins.

    patience: steps without a better running loss after which an image ends; none: never.
    distance: between input embeddings, or, as in the paper, between outputs of the text encoder.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.textual_inversion:TextualInversion"

    name: Literal["textual-inversion"] = "textual-inversion"
    learning_rate: float = Field(0.01, gt=0)
    patience: Count | None = 30
    distance: Literal["l2", "cosine", "text-encoder"] = "l2"
    augment: bool = True

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"prompts", "tokens"})


class WeightedPromptsMethod(_Learning):
    """Algorithm 7: learn a mixture of the class prompts' encodings; the largest weight wins.

    constraint: weights are a softmax of free numbers, or projected onto the simplex.
    tolerance: an image ends when no weight moved more in ten steps.
    """

    implementation: ClassVar[str] = "zsd_ray.methods.weighted_prompts:WeightedPrompts"

    name: Literal["weighted-prompts"] = "weighted-prompts"
    learning_rate: float = Field(0.1, gt=0)
    constraint: Literal["softmax", "simplex"] = "softmax"
    tolerance: float = Field(1e-3, ge=0)

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"prompts"})


ALGORITHMS: Mapping[str, type[AlgorithmMethod]] = {
    "exact-likelihood": ExactLikelihoodMethod,
    "ddim-knn": DdimKnnMethod,
    "noise-denoise": NoiseDenoiseMethod,
    "noise-denoise-vote": NoiseDenoiseVoteMethod,
    "cross-attention": CrossAttentionMethod,
    "textual-inversion": TextualInversionMethod,
    "weighted-prompts": WeightedPromptsMethod,
}
