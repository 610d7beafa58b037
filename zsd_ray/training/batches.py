"""Training batches as a function of (seed, stage, step): a resumed training sees the same ones.

Randomness belongs to the sample: each place of a batch has a generator of its own, so a batch does
not depend on how many workers share it.
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
    """Those of the samples at `places` of a step's batch, by the counter-based Philox."""
    key = _key(f"{seed}\0{stage}")
    # A sample owns 2**64 counter values, so no two ever meet.
    return [
        np.random.Generator(np.random.Philox(key=key, counter=[0, 0, place, step]))
        for place in places
    ]


def seed_of(*parts: int | str) -> int:
    """A seed that is a function of these."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(rngs: Generators, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """A number in [low, high) for each sample, (B,) float32."""
    return torch.tensor([rng.uniform(low, high) for rng in rngs], dtype=torch.float32)


def integers(rngs: Generators, n: int) -> torch.Tensor:
    """A number of 0 .. n - 1 for each sample, (B,) int64."""
    return torch.tensor([int(rng.integers(n)) for rng in rngs], dtype=torch.int64)


def normal(rngs: Generators, shape: tuple[int, ...]) -> torch.Tensor:
    """N(0, I) for each sample, (B, *shape) float32."""
    out = np.empty((len(rngs), *shape), dtype=np.float32)
    for row, rng in zip(out, rngs, strict=True):
        rng.standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(out)


@dataclass(frozen=True)
class Epochs:
    """Passes over N images, each in an order of its own, in nearly equal batches.

    The steps of an epoch differ by at most one image, so that none weighs a few images as much as
    others weigh a whole batch.
    """

    seed: int
    n_images: int
    batch_size: int

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return -(-self.n_images // self.batch_size)

    def size(self, step: int) -> int:
        """Images of a step, counted from the first one of the training."""
        low, high = self._bounds(step)
        return high - low

    def rows(self, step: int, places: range) -> torch.Tensor:
        """The images at `places` of a step's batch, (B,) int64."""
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

    captions: of each image, all that are true; None where the data brings none, or none are wanted.
    """

    images_N3SS: torch.Tensor
    labels_N: torch.Tensor | None
    augment: AugmentConfig
    captions: Sequence[Sequence[str]] | None = None

    def __len__(self) -> int:
        return len(self.images_N3SS)

    def take(self, rows_B: torch.Tensor, rngs: Generators) -> torch.Tensor:
        """Images at `rows`, each changed by its own random numbers, (B, 3, S, S) in [-1, 1]."""
        images = self.images_N3SS[rows_B].float() / 127.5 - 1
        images = affine(images, self.augment, rngs)
        if self.augment.mirror:
            flipped = uniform(rngs) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return spread_contrast(images, self.augment.contrast, rngs)

    def labels(self, rows_B: torch.Tensor) -> torch.Tensor:
        """Their labels, (B,) int64; only where there are any."""
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
    for axis in (0, 1):  # the whole width is 2
        maps[:, axis, 2] = uniform(rngs, -2 * bounds.shift, 2 * bounds.shift)
    grid = functional.affine_grid(maps, list(images_B3SS.shape), align_corners=False)
    return functional.grid_sample(images_B3SS, grid, padding_mode="border", align_corners=False)


def spread_contrast(images_B3SS: torch.Tensor, most: float, rngs: Generators) -> torch.Tensor:
    """Multiply each image by a random factor in [1, most], moved a little, and cut to [-1, 1]."""
    if most == 1:
        return images_B3SS
    gain = uniform(rngs, 1, most)[:, None, None, None]
    place = uniform(rngs, -0.5, 0.5)[:, None, None, None]
    return (gain * images_B3SS + (gain - 1) * place).clamp(-1, 1)


def _key(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), dtype=np.uint64)
