"""Captions of images: a random template with a random name of the image's class."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zsd_ray.spec.train_config import CaptionConfig
from zsd_ray.training.batches import Generators, uniform


@dataclass(frozen=True)
class Captions:
    """Every caption of every class, and the empty one, as token rows (P, L) int64."""

    tokens_PL: torch.Tensor
    of_class: tuple[tuple[int, ...], ...]
    dropout: float

    @staticmethod
    def texts(config: CaptionConfig) -> tuple[list[str], list[list[int]]]:
        """Return all captions, the empty one first, and which of them belong to each class."""
        texts, of_class = [""], []
        for names in config.names:
            filled = [template.format(name) for name in names for template in config.templates]
            of_class.append(list(range(len(texts), len(texts) + len(filled))))
            texts.extend(filled)
        return texts, of_class

    def sample(self, labels_B: torch.Tensor, rngs: Generators) -> torch.Tensor:
        """Return one caption's number for each label; the empty caption at the dropout's rate."""
        choice = uniform(rngs)
        dropped = uniform(rngs) < self.dropout
        numbers = [
            self.of_class[label][int(c * len(self.of_class[label]))]
            for label, c in zip(labels_B.tolist(), choice.tolist(), strict=True)
        ]
        return torch.where(dropped, 0, torch.tensor(numbers))
