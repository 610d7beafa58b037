"""The training loop's view of a model: its networks, its stages, and its samples."""

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

    rows_B: numbers of the images; x_B3SS: the images, float32 in [-1, 1], on the device.
    rngs: each sample's random generator.
    """

    rows_B: torch.Tensor
    x_B3SS: torch.Tensor
    rngs: Generators


@dataclass(frozen=True)
class Stage:
    """One optimisation.

    trained: the networks whose weights it changes.
    loss: the loss of each sample of a batch, (B,) float32.
    epochs: its passes over the images; None if images are drawn with replacement.
    averaged: whether the model has the moving average of the weights.
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
        """Return the number of images of a step's whole batch."""
        return self.optimiser.batch_size if self.epochs is None else self.epochs.size(step)

    @property
    def unit(self) -> int:
        """Return the steps per checkpoint unit: an epoch, or one step."""
        return 1 if self.epochs is None else self.epochs.steps

    def epoch(self, step: int) -> int | None:
        """Return the number of a step's epoch, from 1."""
        return None if self.epochs is None else step // self.epochs.steps + 1


class Task(Protocol):
    """One model in training.

    Attributes:
        images: the training images.
        networks: all of its networks, by name, on the device.
        stages: in order.
    """

    images: TrainingImages
    networks: Mapping[str, Any]
    stages: Sequence[Stage]

    def save(self, folder: Path) -> None:
        """Write the model with the networks' current weights, in the format that users load."""

    def sample(self) -> torch.Tensor | None:
        """Sample images from the same noise each time, (N, 3, S, S) about [-1, 1], or None."""
