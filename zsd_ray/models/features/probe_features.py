"""Pooled features of images, which a probe is fitted to and later classifies by.

Shapes: B images, D numbers of a cell, C channels, h x w places of a block's output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch.nn import functional

from zsd_ray.config.pooling import Cell, GridPooling, Pooling, pooling_name
from zsd_ray.diffusion.draws import noise
from zsd_ray.models.conditioning.fixed_conditioning import fixed_conditioning
from zsd_ray.models.denoiser import Conditioning, Denoiser, ShowsFeatures
from zsd_ray.models.registry import ResolvedModel


class FeatureExtractor:
    """Computes the features of some cells with a denoiser.

    Args:
        conditioning: one row, the same for every image; may be empty.
        blocks: names as of block_names.py; None for all.
        n_rows: the batch size of every forward, padded where there are fewer images, so that an
            image's numbers do not depend on its batch.

    Attributes:
        image_size: side of the input images.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        conditioning: Conditioning,
        timesteps: Sequence[float],
        blocks: Sequence[str] | None,
        poolings: Sequence[Pooling],
        seed: int,
        n_rows: int = 1,
    ) -> None:
        self._denoiser = denoiser
        self._conditioning = {
            name: torch.from_numpy(of.copy()).to(denoiser.device)
            for name, of in conditioning.items()
        }
        self._timesteps = timesteps
        self._blocks = blocks
        self._poolings = poolings
        self._seed = seed
        self._n_rows = n_rows
        self.image_size = denoiser.image_size

    @classmethod
    def load(
        cls,
        model: ResolvedModel,
        prompt: str,
        timesteps: Sequence[float],
        blocks: Sequence[str] | None,
        poolings: Sequence[Pooling],
        seed: int,
        n_rows: int = 1,
    ) -> FeatureExtractor:
        """Load a checked model, and encode the prompt that it is conditioned on."""
        conditioning = fixed_conditioning(model, prompt)
        denoiser = cast(Denoiser, model.load())
        return cls(denoiser, conditioning, timesteps, blocks, poolings, seed, n_rows)

    @torch.inference_mode()
    def __call__(self, images_B3HW: torch.Tensor) -> dict[Cell, torch.Tensor]:
        """Compute features, with one forward per (image, t) for all blocks and poolings.

        Args:
            images_B3HW: float32 in [-1, 1] on the CPU, of `image_size`.

        Returns:
            (B, D) float32 on the CPU, by cell.
        """
        n = len(images_B3HW)
        # One at a time: batched, an image's last bits would depend on its company.
        x_0 = torch.cat([self._denoiser.encode_images(image[None]) for image in images_B3HW])
        eps = torch.stack([self._noise(image) for image in images_B3HW]).to(x_0.device)
        pad = max(0, self._n_rows - n)
        x_0, eps = (torch.cat([x, x[-1:].expand(pad, *x.shape[1:])]) for x in (x_0, eps))
        found = {}
        for t in self._timesteps:
            for block, of_block in self._at(t, x_0, eps).items():
                for pooling in self._poolings:
                    cell = Cell(t, block, pooling_name(pooling))
                    found[cell] = pool(of_block[:n], pooling).cpu()
        return found

    def _at(
        self, t: float, x_0_BCHW: torch.Tensor, eps_BCHW: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        schedule = self._denoiser.schedule
        at = schedule.snap(np.array([t]))
        # At 0 the image is shown as it is, where a chain's first step has a little noise already.
        alpha, sigma = (float(part[0]) for part in schedule.alpha_sigma(at)) if t else (1.0, 0.0)
        time = float(schedule.model_time(at)[0])
        x_t = alpha * x_0_BCHW + sigma * eps_BCHW
        n = len(x_t)
        time_B = torch.full((n,), time, dtype=torch.float32, device=x_t.device)
        rows = {name: of.expand(n, *of.shape[1:]) for name, of in self._conditioning.items()}
        features = cast(ShowsFeatures, self._denoiser).features(x_t, time_B, rows)
        if self._blocks is None:
            return features
        return {block: features[block] for block in self._blocks}

    def _noise(self, image_3HW: torch.Tensor) -> torch.Tensor:
        """Return eps of each image, the same for all t, seeded by the image's content: a saved
        probe gets an image without an id, and must see the features that it was fitted to."""
        content = hashlib.blake2b(image_3HW.numpy().tobytes(), digest_size=16).hexdigest()
        shape = self._denoiser.sample_shape
        return torch.from_numpy(noise(self._seed, content, range(1), shape)[0])


def pool(x_BChw: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool each image's features to (B, D): the mean or maximum of each channel or, for a grid, the
    means of its n x n parts, channels outermost.

    A side of fewer places than n is taken as it is.
    """
    if pooling == "mean":
        return x_BChw.mean(dim=(2, 3))
    if pooling == "max":
        return x_BChw.amax(dim=(2, 3))
    assert isinstance(pooling, GridPooling)
    height, width = (min(pooling.grid, side) for side in x_BChw.shape[2:])
    return functional.adaptive_avg_pool2d(x_BChw, (height, width)).flatten(1)
