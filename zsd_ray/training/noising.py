"""The loss of a denoiser: Ho et al. 2020, eq. 14."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from zsd_ray.training.batches import Generators, integers, normal


def eps_loss(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x_0: torch.Tensor,
    alpha_bar_T: torch.Tensor,
    rngs: Generators,
) -> torch.Tensor:
    """||eps - eps_theta(sqrt(a_t) x_0 + sqrt(1 - a_t) eps, t)||^2 / size of x_0, (B,) float32.

    t is uniform over 0 .. T - 1 and eps ~ N(0, I), from each sample's own random numbers.

    Args:
        predict: eps_theta of x_t (B, C, H, W) and t (B,) int64.
        alpha_bar_T: the product of the 1 - beta, (T,) float32.
    """
    t = integers(rngs, len(alpha_bar_T))
    eps = normal(rngs, tuple(x_0.shape[1:])).to(x_0.device)
    alpha_bar = alpha_bar_T.cpu()[t][:, None, None, None].to(x_0.device)
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps
    return row_mse(predict(x_t, t.to(x_0.device)), eps)


def row_mse(found_BCHW: torch.Tensor, true_BCHW: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each row, (B,) float32."""
    error = functional.mse_loss(found_BCHW.float(), true_BCHW, reduction="none")
    return error.flatten(1).mean(1)
