"""Training batches as a function of (seed, stage, step): a resumed training sees the same.

Each place of a batch has its own random generator, so a batch does not depend on the number of
workers that share it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from zsd_ray.config.training import AugmentConfig

Generators = Sequence[np.random.Generator]
"""The random numbers of each sample of a batch, or of a worker's share of it."""


def generators(seed: int, stage: str, step: int, places: range) -> Generators:
    """Return the random generators of `places` of a step's batch (counter-based Philox)."""
    key = _key(f"{seed}\0{stage}")
    # A sample owns 2**64 counter values, so no two ever meet.
    return [
        np.random.Generator(np.random.Philox(key=key, counter=[0, 0, place, step]))
        for place in places
    ]


def seed_of(*parts: int | str) -> int:
    """Return a seed that is a function of these values."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(rngs: Generators, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """Draw a number in [low, high) for each sample, (B,) float32."""
    return torch.tensor([rng.uniform(low, high) for rng in rngs], dtype=torch.float32)


def integers(rngs: Generators, n: int) -> torch.Tensor:
    """Draw a number of 0 .. n - 1 for each sample, (B,) int64."""
    return torch.tensor([int(rng.integers(n)) for rng in rngs], dtype=torch.int64)


def normal(rngs: Generators, shape: tuple[int, ...]) -> torch.Tensor:
    """Draw from N(0, I) for each sample, (B, *shape) float32."""
    out = np.empty((len(rngs), *shape), dtype=np.float32)
    for row, rng in zip(out, rngs, strict=True):
        rng.standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(out)


@dataclass(frozen=True)
class Epochs:
    """Passes over N images, each in a new order, in nearly equal batches.

    The steps of an epoch differ by at most one image, so that none weighs a few images as much as
    others weigh a whole batch.
    """

    seed: int
    n_images: int
    batch_size: int

    @property
    def steps(self) -> int:
        """Return the number of steps of one epoch."""
        return -(-self.n_images // self.batch_size)

    def size(self, step: int) -> int:
        """Return the number of images of a step; steps count from the start of the training."""
        low, high = self._bounds(step)
        return high - low

    def rows(self, step: int, places: range) -> torch.Tensor:
        """Return the images at `places` of a step's batch, (B,) int64."""
        low, _ = self._bounds(step)
        rng = np.random.Generator(
            np.random.Philox(key=_key(f"{self.seed}\0order"), counter=[0, 0, 0, step // self.steps])
        )
        order = rng.permutation(self.n_images)
        return torch.from_numpy(order[low + places.start : low + places.stop])

    def _bounds(self, step: int) -> tuple[int, int]:
        place = step % self.steps
        return place * self.n_images // self.steps, (place + 1) * self.n_images // self.steps


@dataclass(frozen=True)
class TrainingImages:
    """All training images in memory: (N, 3, S, S) uint8; (N,) int64 labels, or None.

    captions: all true captions of each image; None if the data have none or they are not used.
    """

    images_N3SS: torch.Tensor
    labels_N: torch.Tensor | None
    augment: AugmentConfig
    captions: Sequence[Sequence[str]] | None = None

    def __len__(self) -> int:
        return len(self.images_N3SS)

    def take(self, rows_B: torch.Tensor, rngs: Generators) -> torch.Tensor:
        """Return the augmented images at `rows`, (B, 3, S, S) in [-1, 1]."""
        images = self.images_N3SS[rows_B].float() / 127.5 - 1
        images = affine(images, self.augment, rngs)
        if self.augment.mirror:
            flipped = uniform(rngs) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return spread_contrast(images, self.augment.contrast, rngs)

    def labels(self, rows_B: torch.Tensor) -> torch.Tensor:
        """Return the labels of `rows`, (B,) int64; only for data with labels."""
        assert self.labels_N is not None
        return self.labels_N[rows_B]


def affine(images_B3SS: torch.Tensor, bounds: AugmentConfig, rngs: Generators) -> torch.Tensor:
    """Rotate, scale and shift each image at random; borders are repeated outwards."""
    if (bounds.degrees, bounds.scale, bounds.shift) == (0, (1.0, 1.0), 0):
        return images_B3SS  # interpolation would round
    angle = uniform(rngs, -bounds.degrees, bounds.degrees) * (math.pi / 180)
    inverse_scale = 1 / uniform(rngs, *bounds.scale)
    maps = torch.zeros(len(rngs), 2, 3)
    maps[:, 0, 0] = maps[:, 1, 1] = angle.cos() * inverse_scale
    maps[:, 0, 1] = angle.sin() * inverse_scale
    maps[:, 1, 0] = -maps[:, 0, 1]
    for axis in (0, 1):  # the full width is 2
        maps[:, axis, 2] = uniform(rngs, -2 * bounds.shift, 2 * bounds.shift)
    grid = functional.affine_grid(maps, list(images_B3SS.shape), align_corners=False)
    return functional.grid_sample(images_B3SS, grid, padding_mode="border", align_corners=False)


def spread_contrast(images_B3SS: torch.Tensor, most: float, rngs: Generators) -> torch.Tensor:
    """Scale each image by a random factor in [1, most], shift it a little, and clip to [-1, 1]."""
    if most == 1:
        return images_B3SS
    gain = uniform(rngs, 1, most)[:, None, None, None]
    place = uniform(rngs, -0.5, 0.5)[:, None, None, None]
    return (gain * images_B3SS + (gain - 1) * place).clamp(-1, 1)


def _key(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), dtype=np.uint64)
