"""From noise to x_0: DDIM and DDPM, for every schedule at once.

A step from time t to a less noisy s is (Song et al. 2021, eq. 12, for any alpha and sigma)

    x_s = alpha_s x0_hat + sqrt(sigma_s^2 - v) eps_hat + sqrt(v) z,   z ~ N(0, I)
    v = eta^2 (sigma_s / sigma_t)^2 (sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2)

where v at eta = 1 is the variance of q(x_s | x_t, x_0) (Kingma et al. 2021, eq. 25; of a chain,
Song et al., eq. 16, and the beta tilde of Ho et al. 2020, eq. 7). So eta = 1 with all steps of a
chain is DDPM's ancestral sampling, and eta = 0 is Euler's method on the probability-flow ODE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch

from zsd_ray.diffusion.parametrisation import Parametrisation, to_epsilon, to_sample
from zsd_ray.diffusion.schedule import Array, Schedule

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""What a network says of x_t, (B, C, H, W), and its times as it takes them, (B,); all float32."""
Noise = Callable[[int], torch.Tensor]
"""z of step i, of x's shape."""

_BEFORE = 1e-9  # of time: below the border between two steps of a chain


def times(schedule: Schedule, n_steps: int) -> Array:
    """Return the times of evaluations, from noise to data, (n_steps,) float64.

    Even in t, from the last step of a chain ("trailing", Lin et al. 2023, table 2): of 1,000 by 50
    the steps 999, 979, ..., 19. A schedule that has noise at t = 0 is followed to there (Karras et
    al. 2022, eq. 5).

    Raises:
        ValueError: the chain has fewer steps.
    """
    is_chain = float(schedule.snap(np.zeros(1))[0]) > 0
    noise_at_0 = float(schedule.alpha_sigma(np.zeros(1))[1][0])
    if not is_chain and noise_at_0 > 0 and n_steps > 1:
        return np.linspace(1.0, 0.0, n_steps)
    even = schedule.snap(np.arange(n_steps, 0, -1) / n_steps - _BEFORE)
    if len(np.unique(even)) < n_steps:
        raise ValueError(f"{n_steps} steps, and the model's chain has fewer")
    return even


def sample(
    predict: Predict,
    schedule: Schedule,
    parametrisation: Parametrisation,
    noise_BCHW: torch.Tensor,
    n_steps: int,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
    clip: bool = False,
) -> torch.Tensor:
    """Sample x_0 from N(0, I), (B, C, H, W) float32, by n_steps evaluations per row.

    Args:
        noise: z of each step, on the same device; needed where eta is above 0.
        clip: x0_hat to [-1, 1] before each step, with eps_hat the one that it implies, as Ho et al.
            2020 sample images.

    Raises:
        ValueError: the chain has fewer steps.
    """
    at = times(schedule, n_steps)
    x = noise_BCHW * float(np.hypot(*schedule.alpha_sigma(at[:1]))[0])
    for i, (t, now, then) in enumerate(_steps(schedule, at)):
        (alpha, sigma), (alpha_s, sigma_s) = now, then
        time_B = torch.full((len(x),), _model_time(schedule, t), device=x.device)
        output = predict(x, time_B)
        scales = torch.tensor(alpha), torch.tensor(sigma)
        x_0 = to_sample(output, x, *scales, parametrisation)
        if clip:
            x_0 = x_0.clamp(-1, 1)
            eps = (x - alpha * x_0) / sigma
        else:
            eps = to_epsilon(output, x, *scales, parametrisation)
        v = (eta * sigma_s / sigma) ** 2 * (sigma**2 - (alpha / alpha_s * sigma_s) ** 2)
        x = alpha_s * x_0 + max(sigma_s**2 - v, 0.0) ** 0.5 * eps
        if v > 0:
            assert noise is not None
            x = x + v**0.5 * noise(i)
    return x


def _steps(
    schedule: Schedule, at: Array
) -> Iterator[tuple[float, tuple[float, float], tuple[float, float]]]:
    """Each time, alpha and sigma there, and those at the next: last, those of the clean image."""
    alpha, sigma = (of.tolist() for of in schedule.alpha_sigma(at))
    pairs = pairwise([*zip(alpha, sigma, strict=True), (1.0, 0.0)])
    for t, (now, then) in zip(at.tolist(), pairs, strict=True):
        yield t, now, then


def _model_time(schedule: Schedule, t: float) -> float:
    return float(schedule.model_time(np.array([t]))[0])
