"""Deterministic DDIM (Song et al. 2021), forwards and backwards, for every schedule at once.

With y = x / alpha and lambda = sigma / alpha the probability-flow ODE of every schedule is
dy / dlambda = eps_hat(alpha y, t) (Song et al. 2021, eq. 14), and a DDIM step is its Euler step. A
step from more noise to less samples; one from less to more inverts. Both go through the same
levels, of which the first is lambda = 0, where x is y.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from zsd_ray.diffusion.schedule import Array, Schedule

Epsilon = Callable[[torch.Tensor, Array], torch.Tensor]
"""eps_hat of x_t, (B, C, H, W), and its times, (B,) float64."""


_LEAST = 5e-4
"""Time 0 of a continuous schedule has no noise, of which a network that predicts x_0 tells nothing.
In a chain of 1,000 steps this is the first."""


def grid(schedule: Schedule, level_B: Array, n_steps: int) -> Array:
    """Times of n_steps even steps, (n_steps + 1, B): from the least to `level`, float64.

    A chain that has fewer steps below a level visits some twice: a step of length 0.
    """
    level_B = np.asarray(level_B, dtype=np.float64)
    return schedule.snap(np.linspace(np.minimum(_LEAST, level_B), level_B, n_steps + 1))


def denoise(epsilon: Epsilon, schedule: Schedule, x_t: torch.Tensor, times: Array) -> torch.Tensor:
    """Return x_0 from x at the last of `times` (n + 1, B), by n evaluations: at all but the
    first."""
    y = x_t / _alpha(schedule, times[-1], x_t)
    return _walk(epsilon, schedule, y, times[::-1], _levels(schedule, times)[::-1])


def invert(epsilon: Epsilon, schedule: Schedule, x_0: torch.Tensor, times: Array) -> torch.Tensor:
    """Return x at the last of `times` (n + 1, B) from x_0, by n evaluations: at all but the last.

    The first evaluation is at the least time that the model knows, though x_0 has no noise.
    """
    y = _walk(epsilon, schedule, x_0, times, _levels(schedule, times))
    return _alpha(schedule, times[-1], x_0) * y


def _walk(
    epsilon: Epsilon, schedule: Schedule, y: torch.Tensor, times: Array, levels: Array
) -> torch.Tensor:
    """Euler steps in lambda, each from the time at which it starts."""
    for step in range(len(times) - 1):
        # In float64 before the difference: levels of neighbouring times are close.
        length = _column(levels[step + 1] - levels[step], y)
        y = y + length * epsilon(_alpha(schedule, times[step], y) * y, times[step])
    return y


def _levels(schedule: Schedule, times: Array) -> Array:
    """lambda at each of `times`, where the first stands for no noise at all."""
    alpha, sigma = schedule.alpha_sigma(times)
    levels: Array = sigma / alpha
    levels[0] = 0.0
    return levels


def _alpha(schedule: Schedule, t_B: Array, like: torch.Tensor) -> torch.Tensor:
    return _column(schedule.alpha_sigma(t_B)[0], like)


def _column(values: Array, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None, None]
