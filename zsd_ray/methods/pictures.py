"""Pictures that a model makes of an image under its classes: the figures of Startsev & Singh.

All of a `Bound`'s classes are shown, each by its first template. Inversion and denoising are
deterministic DDIM (diffusion/ddim.py) between the clean image and `level`, without guidance, on
the same even grid of times both ways; the paper leaves level and steps open.

Shapes: K classes, C channels, H x W of x, S x S pixels, L levels, n noises.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.algorithms import NoiseDenoiseVoteMethod
from zsd_ray.diffusion.ddim import denoise, grid, invert
from zsd_ray.diffusion.schedule import Array
from zsd_ray.methods.class_rows import Index, batches
from zsd_ray.methods.method import Bound, Sample, Unit
from zsd_ray.methods.noise_denoise import NoiseDenoise
from zsd_ray.models.denoiser import Decoder
from zsd_ray.models.latents import to_picture

_PARALLEL = 1e-6  # sin of the angle below which the arc is a straight line


def exchange(bound: Bound, x_CHW: torch.Tensor, level: float, steps: int) -> torch.Tensor:
    """Invert an image under one class and denoise it under another: figures 2 and 3.

    Returns:
        (K, K, C, H, W) float32: [i, j] is x_0 inverted under class i and denoised under class j.
        The diagonal returns x_0, up to the solver's error.
    """
    n = len(bound.names)
    classes = np.arange(n)
    encoded = _walk(bound, x_CHW.expand(n, -1, -1, -1), classes, level, steps, back=False)
    decoded = _walk(bound, encoded.repeat_interleave(n, 0), np.tile(classes, n), level, steps)
    return decoded.reshape(n, n, *x_CHW.shape)


def between(
    bound: Bound, ends_2CHW: torch.Tensor, level: float, steps: int, n_shares: int
) -> torch.Tensor:
    """Interpolate between two images over the arc between their latents: figure 4.

    The paper shows two images of one class. Here each class has its own row.

    Returns:
        (K, n_shares, C, H, W) float32: in row k both are inverted under class k, and the points
        between, at even shares of the arc, are denoised under it. The ends return the images.
    """
    n = len(bound.names)
    shares = np.linspace(0, 1, n_shares)
    prompts = np.repeat(np.arange(n), 2)
    encoded = _walk(bound, ends_2CHW.repeat(n, 1, 1, 1), prompts, level, steps, back=False)
    ends = encoded.reshape(n, 2, *encoded.shape[1:])
    mixed = torch.cat([slerp(first, last, shares) for first, last in ends])
    decoded = _walk(bound, mixed, np.repeat(np.arange(n), n_shares), level, steps)
    return decoded.reshape(n, n_shares, *ends_2CHW.shape[1:])


def slerp(first: torch.Tensor, last: torch.Tensor, shares: Array) -> torch.Tensor:
    """Return points on the arc from one tensor to another of its shape, (len(shares), *shape).

    sin((1 - s) a) / sin(a) first + sin(s a) / sin(a) last, with a the angle between the two
    (Shoemake 1985); a straight line where they are parallel. The weights are float64.
    """
    cosine = torch.nn.functional.cosine_similarity(
        first.double().flatten(), last.double().flatten(), dim=0
    )
    angle = float(torch.arccos(cosine.clamp(-1, 1)))
    weights = np.stack([1 - shares, shares])
    if np.sin(angle) > _PARALLEL:
        weights = np.sin(weights * angle) / np.sin(angle)
    of_first, of_last = (
        torch.from_numpy(row.astype(np.float32)).to(first.device).view(-1, *[1] * first.ndim)
        for row in weights
    )
    return of_first * first + of_last * last


def distances(
    bound: Bound, sample: Sample, levels: list[float], steps: int, n_noises: int
) -> NDArray[np.float32]:
    """Return the distances from x_0 of images noised to a level and denoised: figure 11.

    Returns:
        (K, L, n): mean squared differences of x, as a run of noise-denoise-vote at these levels
        scores them. Classes share the noises; each level has noises of its own.
    """
    config = NoiseDenoiseVoteMethod(levels=levels, steps=steps)
    n_levels, classes = len(levels), tuple(range(len(bound.names)))
    unit = Unit(sample, range(n_levels * n_noises), classes)
    (found,) = NoiseDenoise(bound, config).score([unit])
    return found.scores.reshape(n_noises, n_levels, -1).transpose(2, 1, 0)


def decoded(bound: Bound, x_BCHW: torch.Tensor) -> NDArray[np.uint8]:
    """Decode x_0 to pictures, (B, S, S, 3): one at a time, so that none depends on the others."""
    decoder = cast(Decoder, bound.denoiser)
    return np.concatenate([to_picture(decoder.decode(x[None])) for x in x_BCHW])


def _walk(
    bound: Bound, x_BCHW: torch.Tensor, classes: Index, level: float, steps: int, back: bool = True
) -> torch.Tensor:
    """Move rows from `level` to the clean image, or back, each under its class."""
    schedule = bound.denoiser.schedule
    prompts = torch.from_numpy(classes * len(bound.templates)).to(x_BCHW.device)
    parts = []
    for mine in batches(len(prompts), bound.rows):
        rows = torch.from_numpy(mine).to(x_BCHW.device)
        prompt_B = prompts[rows]

        def epsilon(x: torch.Tensor, t: Array, prompt_B: torch.Tensor = prompt_B) -> torch.Tensor:
            return bound.epsilon(x, t, prompt_B)

        times = grid(schedule, np.full(len(mine), level), steps)
        parts.append((denoise if back else invert)(epsilon, schedule, x_BCHW[rows], times))
    return torch.cat(parts)[: len(prompts)]
