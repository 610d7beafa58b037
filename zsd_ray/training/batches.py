"""Training batches as a function of (seed, stage, step): a resumed run sees the same ones."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from zsd_ray.spec.train_config import AugmentConfig, CaptionConfig


def generator(seed: int, stage: str, step: int) -> torch.Generator:
    """The random numbers of one step."""
    digest = hashlib.blake2b(f"{seed}/{stage}/{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


@dataclass(frozen=True)
class TrainingImages:
    """All training images in memory: (N, 3, H, W) float32 in [-1, 1], and (N,) labels."""

    images_N3HW: torch.Tensor
    labels_N: torch.Tensor
    augment: AugmentConfig

    def sample(self, size: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw `size` images with replacement, augmented, with their labels."""
        rows = torch.randint(len(self.labels_N), (size,), generator=rng)
        images = affine(self.images_N3HW[rows], self.augment, rng)
        return spread_contrast(images, self.augment.contrast, rng), self.labels_N[rows]


def affine(images_B3HW: torch.Tensor, bounds: AugmentConfig, rng: torch.Generator) -> torch.Tensor:
    """Rotate, scale and shift each image at random; borders are repeated outwards."""
    n = len(images_B3HW)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=rng)

    angle = uniform(-bounds.degrees, bounds.degrees) * (math.pi / 180)
    inverse_scale = 1 / uniform(*bounds.scale)
    maps = torch.zeros(n, 2, 3)
    maps[:, 0, 0] = maps[:, 1, 1] = angle.cos() * inverse_scale
    maps[:, 0, 1] = angle.sin() * inverse_scale
    maps[:, 1, 0] = -maps[:, 0, 1]
    maps[:, :, 2] = uniform(-2 * bounds.shift, 2 * bounds.shift)[:, None]
    maps[:, 1, 2] = uniform(-2 * bounds.shift, 2 * bounds.shift)
    grid = functional.affine_grid(maps, list(images_B3HW.shape), align_corners=False)
    return functional.grid_sample(images_B3HW, grid, padding_mode="border", align_corners=False)


def spread_contrast(images_B3HW: torch.Tensor, most: float, rng: torch.Generator) -> torch.Tensor:
    """Multiply each image by a random factor in [1, most], moved a little, and cut to [-1, 1]."""
    gain, place = torch.rand(2, len(images_B3HW), 1, 1, 1, generator=rng)
    gain = 1 + (most - 1) * gain
    moved: torch.Tensor = gain * images_B3HW + (gain - 1) * (place - 0.5)
    return moved.clamp(-1, 1)


@dataclass(frozen=True)
class Captions:
    """Every caption of every class, and the empty one, as token rows."""

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

    def sample(self, labels_B: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Return one caption's number for each label; the empty caption at the dropout's rate."""
        choice = torch.rand(len(labels_B), generator=rng)
        dropped = torch.rand(len(labels_B), generator=rng) < self.dropout
        numbers = [
            self.of_class[label][int(c * len(self.of_class[label]))]
            for label, c in zip(labels_B.tolist(), choice.tolist(), strict=True)
        ]
        return torch.where(dropped, 0, torch.tensor(numbers))
