"""The interface of a classification method: work units in, scores out.

A unit is one prepared work item: some draws of one image for some classes. A method that can
score each (draw, class) separately extends `ClassRows` (class_rows.py); one that needs all classes
of a draw together (`whole` in config/method_section.py) is given them in one unit.

Shapes: B rows, C channels, H x W of x, N prompts, n draws and k classes of a unit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.method_section import Method as MethodSection
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.diffusion.schedule import Array
from zsd_ray.models.denoiser import Classifier, Denoiser, PromptEncoder
from zsd_ray.models.rows import RowNetwork
from zsd_ray.records.draw_table import Draws
from zsd_ray.storage.store import Store


@dataclass(frozen=True)
class Sample:
    """One image as the input of a method.

    x_0: (C, H, W) float32, on the device; of a baseline (models/denoiser.py's `Classifier`) its
        input, (3, H, W) float32, on the CPU.
    pixels: (3, S, S) float32 in [-1, 1], on the device; empty if the method does not use them.
    """

    image_id: str
    x_0: torch.Tensor
    pixels: torch.Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass(frozen=True)
class Unit:
    """Some draws of one image, for some classes (their numbers, ascending)."""

    sample: Sample
    draws: range
    classes: tuple[int, ...]


@dataclass(frozen=True)
class UnitScores:
    """The answer to one unit.

    scores: (n, k) float32, lower is better, before they are multiplied by the draws' weights.
    draws: the n draws.
    n_evaluations: rows of network forwards that they took, without padding.
    """

    scores: NDArray[np.float32]
    draws: Draws
    n_evaluations: int


@dataclass(frozen=True)
class Bound:
    """A denoiser bound to the classes of a run.

    conditioning: N rows in each tensor, on the device: one per (class, template), all templates of
        a class together. If the method uses the empty prompt, its row is the last (`null`).
    names, templates: those that the prompts were made of.
    network: over all prompts, without gradients.
    rows: of every forward; the last one is padded.
    prompt_encoder: loads what encodes prompts; only for a model whose family can keep it.
    store: for the files of other models.
    """

    denoiser: Denoiser
    conditioning: Mapping[str, torch.Tensor]
    names: Sequence[str]
    templates: Sequence[str]
    network: RowNetwork
    rows: int
    seed: int
    prompt_encoder: Callable[[], PromptEncoder]
    store: Store = field(default_factory=Store)

    @property
    def null(self) -> int:
        """The number of the empty prompt's row."""
        return len(self.names) * len(self.templates)

    def epsilon(self, x_BCHW: torch.Tensor, t_B: Array, prompt_B: torch.Tensor) -> torch.Tensor:
        """Estimate eps at x_t, (B, C, H, W) float32, one evaluation per row, without gradient.

        Args:
            t_B: float64, times that the model knows; prompt_B: int64, rows of the conditioning.
        """
        each = torch.arange(len(x_BCHW), device=x_BCHW.device)
        output = self.network(x_BCHW, self.model_time(t_B), each, prompt_B)
        return self._to_epsilon(output, x_BCHW, t_B)

    def epsilon_with_gradient(
        self, x_BCHW: torch.Tensor, t_B: Array, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Like `epsilon`, but for any conditioning, differentiable in both; under `enable_grad`."""
        output = self.denoiser.predict(x_BCHW, self.model_time(t_B), conditioning)
        return self._to_epsilon(output, x_BCHW, t_B)

    def drawn(self, t_n: Array, weight: float | Array = 1.0) -> Draws:
        """Return draws at times that the model knows."""
        alpha, sigma = self.denoiser.schedule.alpha_sigma(t_n)
        return Draws.of(t_n, alpha, sigma, np.broadcast_to(weight, len(t_n)))

    def alpha_sigma(self, t_B: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Return alpha and sigma, (B, 1, 1, 1) float32, on the device."""
        alpha, sigma = self.denoiser.schedule.alpha_sigma(t_B)
        return self._column(alpha), self._column(sigma)

    def _to_epsilon(self, output: torch.Tensor, x: torch.Tensor, t_B: Array) -> torch.Tensor:
        alpha, sigma = self.alpha_sigma(t_B)
        return to_epsilon(output, x, alpha, sigma, self.denoiser.parametrisation)

    def model_time(self, t_B: Array) -> torch.Tensor:
        """Return the network's time input, (B,) float32, on the device."""
        time = self.denoiser.schedule.model_time(t_B).astype(np.float32)
        return torch.from_numpy(time).to(self.denoiser.device)

    def _column(self, values: Array) -> torch.Tensor:
        column = torch.from_numpy(np.asarray(values, dtype=np.float32))
        return column.to(self.denoiser.device)[:, None, None, None]


@dataclass(frozen=True)
class BoundBaseline:
    """A baseline bound to the classes of a run.

    classes: K rows, as its `scores` takes them; rows: images of every forward.
    """

    classifier: Classifier
    classes: torch.Tensor
    names: Sequence[str]
    rows: int


def texts(prompts: Sequence[str], method: MethodSection) -> list[str]:
    """Return the texts to encode: the prompts, and last the empty one if the method uses it."""
    return [*prompts, ""] if method.null_prompt else list(prompts)


class Method(ABC):
    """A method, bound to a model and to classes; its class is made of (bound, section).

    Attributes:
        shares_draws: rows of one draw share the network's computation that depends on it alone.
        takes_pixels: samples come with their pixels.
    """

    shares_draws: ClassVar[bool] = False
    takes_pixels: ClassVar[bool] = True

    @abstractmethod
    def score(self, units: Sequence[Unit]) -> list[UnitScores]:
        """Score units, in order; a unit's scores do not depend on the other units."""

    def ahead(self, image_id: str, numbers: range) -> None:  # noqa: B027 - most do nothing
        """Prepare draws of an image that are scored next, while the device computes; called from
        another thread than `score`."""

    def forget(self, image_id: str, numbers: range) -> None:  # noqa: B027 - likewise
        """Drop prepared data that is not needed any more."""


def method_class(section: MethodSection) -> Any:
    """Return the class of `Method` that a section names; made of (bound, section)."""
    module, _, name = section.implementation.partition(":")
    return getattr(import_module(module), name)
