"""Trains a supervised classifier: the baseline, on real images or on generated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from zsd_ray.config.training import ClassifierTraining
from zsd_ray.models.untrained.new_classifier import build
from zsd_ray.training.batches import Epochs, TrainingImages
from zsd_ray.training.task import Batch, Stage


class ClassifierTask:
    """The `Task` of a classifier."""

    networks: Mapping[str, Any]
    stages: Sequence[Stage]

    def __init__(
        self, config: ClassifierTraining, images: TrainingImages, device: torch.device
    ) -> None:
        self.images = images
        self._device = device
        self._model = build(config)
        self._network = self._model.network.to(device)
        self.networks = {"classifier": self._network}
        epochs = Epochs(config.seed, len(images), config.optimiser.batch_size)
        self.stages = [
            Stage(
                name="classifier",
                trained=self.networks,
                loss=self._loss,
                steps=config.epochs * epochs.steps,
                optimiser=config.optimiser,
                epochs=epochs,
                averaged=config.ema_decay is not None,
            )
        ]

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Return the cross entropy of each image, in nats."""
        labels = self.images.labels(batch.rows_B).to(self._device)
        logits = self._network(batch.x_B3SS).float()
        return functional.cross_entropy(logits, labels, reduction="none")

    def save(self, folder: Path) -> None:
        self._model.save(folder)

    def sample(self) -> torch.Tensor | None:
        return None
