"""A denoiser's training: noised images, the target, and the mean squared error to it.

With x_t = alpha x_0 + sigma eps, the targets of the four objectives are

    epsilon  eps                      Ho et al. 2020, eq. 14
    sample   x_0                      Ho et al. 2020, section 3.2
    v        alpha eps - sigma x_0    Salimans & Ho 2022, section 4
    flow     eps - x_0                Esser et al. 2024, section 2: x_t = (1 - t) x_0 + t eps

The first three are over the steps of a chain, drawn uniformly; a flow's t is continuous.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from zsd_ray.config.training import FlowTimes, Objective
from zsd_ray.training.batches import Generators, integers, normal, uniform

Noised = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""x_t (B, C, H, W), the network's time (B,) and its target (B, C, H, W)."""

Noising = Callable[[torch.Tensor, Generators], Noised]
"""Noises x_0, (B, C, H, W) float32, by each sample's own random numbers."""


def noising(scheduler: object, objective: Objective, flow_times: FlowTimes) -> Noising:
    """Return the function that noises training images for this objective.

    Args:
        scheduler: the library's, as it is saved beside the network.
    """
    if objective == "flow":
        n_steps = int(scheduler.config.num_train_timesteps)  # type: ignore[attr-defined]
        return lambda x_0, rngs: _on_straight_path(x_0, rngs, flow_times, n_steps)
    alpha_bar_T: torch.Tensor = scheduler.alphas_cumprod  # type: ignore[attr-defined]
    return lambda x_0, rngs: _on_chain(x_0, rngs, objective, alpha_bar_T)


def _on_chain(
    x_0: torch.Tensor, rngs: Generators, objective: Objective, alpha_bar_T: torch.Tensor
) -> Noised:
    t = integers(rngs, len(alpha_bar_T))
    eps = normal(rngs, tuple(x_0.shape[1:])).to(x_0.device)
    alpha_bar = alpha_bar_T.cpu()[t][:, None, None, None].to(x_0.device)
    alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    targets = {"epsilon": eps, "sample": x_0, "v": alpha * eps - sigma * x_0}
    return alpha * x_0 + sigma * eps, t.to(x_0.device), targets[objective]


def _on_straight_path(
    x_0: torch.Tensor, rngs: Generators, flow_times: FlowTimes, n_steps: int
) -> Noised:
    """Noise by a flow; the model's time is `n_steps` t, as with the library's flow schedulers."""
    # Logit-normal with location 0 and scale 1: Esser et al. 2024, eq. 19.
    t = uniform(rngs) if flow_times == "uniform" else normal(rngs, (1,))[:, 0].sigmoid()
    eps = normal(rngs, tuple(x_0.shape[1:])).to(x_0.device)
    t = t.to(x_0.device)
    at = t[:, None, None, None]
    return (1 - at) * x_0 + at * eps, n_steps * t, eps - x_0


def denoising_loss(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], noised: Noised
) -> torch.Tensor:
    """Return the mean squared error of each row, (B,) float32.

    Args:
        predict: the network, of x_t and its time.
    """
    x_t, time, target = noised
    return row_mse(predict(x_t, time), target)


def row_mse(found_BCHW: torch.Tensor, true_BCHW: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of each row, (B,) float32."""
    error = functional.mse_loss(found_BCHW.float(), true_BCHW, reduction="none")
    return error.flatten(1).mean(1)
