"""Pieces of a likelihood by the probability-flow ODE (Song et al. 2021, section 4.3).

Shapes: B rows, C channels, H x W of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from zsd_ray.diffusion.schedule import Array


def value_and_divergence(
    function: Callable[[torch.Tensor], torch.Tensor], y_BCHW: torch.Tensor, probe: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A function of y, and an estimate of the trace of its Jacobian in each row.

    Hutchinson's (1990): z^T J z for a probe z of E[z z^T] = I, of y's shape, by one
    vector-Jacobian product. For a diagonal J, and z of -1 and 1, it is exact.

    Returns:
        The value, (B, C, H, W), and the estimate, (B,), without gradients.
    """
    with torch.enable_grad():
        y = y_BCHW.detach().requires_grad_()
        value = function(y)
        (product,) = torch.autograd.grad(value, y, probe)
    return value.detach(), (product * probe).flatten(1).sum(1)


def log_prior(y_BCHW: torch.Tensor, level: float) -> Array:
    """log N(y; 0, (1 + level^2) I) in nats, (B,) float64: data of unit variance, and noise."""
    variance = 1.0 + level**2
    squares = y_BCHW.cpu().double().flatten(1).square().sum(1).numpy()
    n_dimensions = y_BCHW[0].numel()
    log_density: Array = -0.5 * (
        squares / variance + n_dimensions * math.log(2 * math.pi * variance)
    )
    return log_density


def bits_per_dimension(nats: float, shape: tuple[int, ...]) -> float:
    """-log p in bits of each of x's numbers, from nats of x of `shape`.

    For pixels in [-1, 1] with 256 values, log2(127.5) = 6.994 more are those of the discrete image;
    a latent has no such counterpart.
    """
    return nats / (math.prod(shape) * math.log(2))
