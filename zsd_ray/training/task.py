"""What the training loop is told of a model: its networks, its stages, and what it can show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from zsd_ray.config.training import OptimiserConfig
from zsd_ray.training.batches import Epochs, Generators, TrainingImages


@dataclass(frozen=True)
class Batch:
    """A rank's share of a step's batch.

    rows_B: which images; x_B3SS: those images, float32 in [-1, 1], on the device.
    rngs: what is left of each sample's random numbers.
    """

    rows_B: torch.Tensor
    x_B3SS: torch.Tensor
    rngs: Generators


@dataclass(frozen=True)
class Stage:
    """One optimisation.

    trained: the networks whose weights it changes.
    loss: of each sample of a batch, (B,) float32.
    epochs: the passes that it is counted in; None where it draws images with replacement.
    averaged: whether the moving average of the weights is what counts.
    shown: whether checkpoints have a folder of the model (where there are epochs) and a grid.
    begin: called before its first step in this process.
    """

    name: str
    trained: Mapping[str, Any]
    loss: Callable[[Batch], torch.Tensor]
    steps: int
    optimiser: OptimiserConfig
    epochs: Epochs | None = None
    averaged: bool = False
    shown: bool = False
    begin: Callable[[], None] = lambda: None

    def size(self, step: int) -> int:
        """Images of a step's whole batch."""
        return self.optimiser.batch_size if self.epochs is None else self.epochs.size(step)

    @property
    def unit(self) -> int:
        """Steps of what checkpoints are counted in."""
        return 1 if self.epochs is None else self.epochs.steps

    def epoch(self, step: int) -> int | None:
        """The number of a step's epoch, from 1."""
        return None if self.epochs is None else step // self.epochs.steps + 1


class Task(Protocol):
    """One model in training.

    Attributes:
        images: what it learns from.
        networks: all of its networks, by name, on the device.
        stages: in order.
    """

    images: TrainingImages
    networks: Mapping[str, Any]
    stages: Sequence[Stage]

    def save(self, folder: Path) -> None:
        """Write the model, with the weights that its networks have now, as users load it."""

    def sample(self) -> torch.Tensor | None:
        """Images of the same noise each time, (N, 3, S, S) about [-1, 1]; None: it makes none."""
