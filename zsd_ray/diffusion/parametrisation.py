"""What a network's output means, converted once to an estimate of eps, or of x0.

With x_t = alpha x0 + sigma eps:  eps = (x_t - alpha x0) / sigma,  and for v-prediction
v = alpha eps - sigma x0 (Salimans & Ho 2022, section 4):  eps = alpha v + sigma x_t  (where
alpha^2 + sigma^2 = 1). The velocity of a straight path (Esser et al. 2024, section 2), where
alpha + sigma = 1, is u = eps - x0:  eps = x_t + alpha u.
"""

from __future__ import annotations

from typing import Literal

import torch

Parametrisation = Literal["epsilon", "v_prediction", "sample", "flow"]


def to_epsilon(
    output: torch.Tensor,
    x_t: torch.Tensor,
    alpha: torch.Tensor,
    sigma: torch.Tensor,
    parametrisation: Parametrisation,
) -> torch.Tensor:
    """Return the estimate of eps, of x_t's shape, float32; alpha and sigma broadcast to it."""
    output = output.float()
    if parametrisation == "epsilon":
        return output
    if parametrisation == "v_prediction":
        return alpha * output + sigma * x_t
    if parametrisation == "sample":
        return (x_t - alpha * output) / sigma
    if parametrisation == "flow":
        return x_t + alpha * output
    raise AssertionError(f"unknown parametrisation {parametrisation!r}")


def to_sample(
    output: torch.Tensor,
    x_t: torch.Tensor,
    alpha: torch.Tensor,
    sigma: torch.Tensor,
    parametrisation: Parametrisation,
) -> torch.Tensor:
    """Return the estimate of x0, likewise: alpha x_t - sigma v, and x_t - sigma u.

    From v, u and x0 itself also where alpha is 0.
    """
    output = output.float()
    if parametrisation == "epsilon":
        return (x_t - sigma * output) / alpha
    if parametrisation == "v_prediction":
        return alpha * x_t - sigma * output
    if parametrisation == "sample":
        return output
    if parametrisation == "flow":
        return x_t - sigma * output
    raise AssertionError(f"unknown parametrisation {parametrisation!r}")
