"""Trains a denoiser of pixels: a DDPM (Ho et al. 2020), or by another objective (noising.py).

A class-conditional model has its labels dropped at random, so that it also learns the unconditional
distribution (Ho & Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zsd_ray.config.training import DdpmTraining
from zsd_ray.diffusion.sampling import sample
from zsd_ray.models.latents import in_pixels, in_three_channels
from zsd_ray.models.schedules import schedule_of
from zsd_ray.models.untrained.new_ddpm import build
from zsd_ray.training.batches import Epochs, TrainingImages, generators, normal, uniform
from zsd_ray.training.noising import denoising_loss, noising
from zsd_ray.training.task import Batch, Stage


class DdpmTask:
    """The `Task` of a denoiser of pixels."""

    networks: Mapping[str, Any]
    stages: Sequence[Stage]

    def __init__(self, config: DdpmTraining, images: TrainingImages, device: torch.device) -> None:
        self.images = images
        self._config = config
        self._device = device
        n_classes = None if config.classes is None else len(config.classes)
        self._null = n_classes if config.label_dropout else None
        self._model = build(config, self._null is not None)
        self._unet = self._model.unet.to(device)
        self._noised = noising(self._model.scheduler, config.objective, config.flow_times)
        self.networks = {"unet": self._unet}
        epochs = Epochs(config.seed, len(images), config.optimiser.batch_size)
        self.stages = [
            Stage(
                name="denoiser",
                trained=self.networks,
                loss=self._loss,
                steps=config.epochs * epochs.steps,
                optimiser=config.optimiser,
                epochs=epochs,
                averaged=config.ema_decay is not None,
                shown=True,
            )
        ]

    def _loss(self, batch: Batch) -> torch.Tensor:
        x_0 = in_pixels(batch.x_B3SS, self._config.network.image_channels)
        labels = None
        if self._config.classes is not None:
            labels = self.images.labels(batch.rows_B)
            if self._null is not None:
                dropped = uniform(batch.rngs) < self._config.label_dropout
                labels = torch.where(dropped, self._null, labels)
            labels = labels.to(self._device)
        return denoising_loss(
            lambda x_t, t: self._unet(x_t, t, class_labels=labels).sample,
            self._noised(x_0, batch.rngs),
        )

    def save(self, folder: Path) -> None:
        self._model.save(folder)

    @torch.no_grad()
    def sample(self) -> torch.Tensor | None:
        """Sample by DDIM, from the same noise each time; classes take turns."""
        config = self._config
        n = config.samples.images
        if not n:
            return None
        rngs = generators(config.seed, "samples", 0, range(n))
        size = config.network.image_size
        x_T = normal(rngs, (config.network.image_channels, size, size)).to(self._device)
        labels = None
        if config.classes is not None:
            labels = (torch.arange(n) % len(config.classes)).to(self._device)
        schedule, parametrisation = schedule_of(self._model.scheduler)

        def predict(x_t: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self._unet(x_t, time_B, class_labels=labels).sample
            return found

        x_0 = sample(predict, schedule, parametrisation, x_T, config.samples.steps, clip=True)
        return in_three_channels(x_0)
