"""Explicit Runge-Kutta methods for many initial-value problems at once.

A row is a problem: dy/du = f(y, u) from `start` up to `end`, and beside it an integral along the
way, dI/du = g(y, u). The adaptive method gives each row a step of its own, so the result of a row
does not depend on the other rows: a batch continues until its last row is done, and finished rows
do not change.

Shapes: B rows; y is (B, ...) of any float dtype. u, steps and integrals are float64, on the host,
which waits for the device once per step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.diffusion.schedule import Array

Slope = tuple[torch.Tensor, torch.Tensor]
Field = Callable[[torch.Tensor, Array], Slope]
"""(f, g) at y (B, ...) and u (B,): tensors of y's shape and (B,), on y's device."""

MAX_STEPS = 500
"""Accepted and rejected; a row that needs more has not reached its end."""

_FIRST = 0.1  # the first step, of the whole way; one that is too long is rejected
_LEAST = 1e-7  # the least step, of the whole way: below it float32 rounding is all there is
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 2.0  # Hairer, Norsett & Wanner 1993, section II.4


@dataclass(frozen=True)
class Tableau:
    """Butcher's: stage i is at u + nodes[i] h, and y there is y + h sum_j lower[i - 1][j] f_j.

    error: weights of the embedded solution's difference, if it has one.
    """

    nodes: Sequence[float]
    lower: Sequence[Sequence[float]]
    weights: Sequence[float]
    error: Sequence[float] = ()


HEUN = Tableau(nodes=(0, 1), lower=((1,),), weights=(1 / 2, 1 / 2))
"""Order 2, two evaluations per step."""

RK4 = Tableau(
    nodes=(0, 1 / 2, 1 / 2, 1),
    lower=((1 / 2,), (0, 1 / 2), (0, 0, 1)),
    weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
"""Order 4 (Kutta 1901), four evaluations per step."""

DORMAND_PRINCE = Tableau(
    nodes=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    lower=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    weights=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    error=(71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
"""Order 5 with an error estimate of order 4 (Dormand & Prince 1980). The last stage is the first of
the next step, so that a step takes six evaluations."""


@dataclass(frozen=True)
class Solution:
    """The state of the rows.

    y: (B, ...); integral: (B,) float64; n_evaluations: (B,) int64, of a row until it was done;
        reached: (B,) bool, whether it reached the end.
    """

    y: torch.Tensor
    integral: Array
    n_evaluations: NDArray[np.int64]
    reached: NDArray[np.bool_]


def fixed(
    field: Field, y: torch.Tensor, start: float, end: float, n_steps: int, tableau: Tableau
) -> Solution:
    """n_steps equal steps, the same for all rows."""
    n_rows, step = len(y), (end - start) / n_steps
    h_B, integral = np.full(n_rows, step), np.zeros(n_rows)
    for number in range(n_steps):
        u_B = np.full(n_rows, start + number * step)
        slopes, rates = _stages(field, tableau, y, u_B, h_B, field(y, u_B))
        y = _moved(y, h_B, tableau.weights, slopes)
        integral += h_B * (tableau.weights @ _on_host(rates))
    n_evaluations = np.full(n_rows, n_steps * len(tableau.weights))
    return Solution(y, integral, n_evaluations, np.ones(n_rows, dtype=bool))


def adaptive(
    field: Field,
    y: torch.Tensor,
    start: float,
    end: float,
    rtol: float,
    atol: float,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Dormand & Prince 5(4), continued with the solution of order 5.

    A step is accepted where its error estimate is at most atol + rtol |value|: of y, the root mean
    square over a row's numbers; and of the integral. Its successor is 0.9 error^(-1/5) times as
    long, between 0.2 and 2 times (Hairer, Norsett & Wanner 1993, eq. II.4.13): at most 2, for
    a longer leap can pass over what it should have seen.

    A row stops short of `end` after `max_steps`, or where its steps become as small as rounding: a
    tolerance that the field's precision cannot meet, or numbers that are not finite.
    """
    n_rows, tableau = len(y), DORMAND_PRINCE
    u, h = np.full(n_rows, start), np.full(n_rows, (end - start) * _FIRST)
    integral, going = np.zeros(n_rows), np.ones(n_rows, dtype=bool)
    first = field(y, u)
    n_evaluations = np.ones(n_rows, dtype=np.int64)
    for _ in range(max_steps):
        last = u + h >= end
        h = np.where(last, end - u, h)
        moves = np.where(going, h, 0.0)
        slopes, rates = _stages(field, tableau, y, u, moves, first)
        n_evaluations += going * len(tableau.lower)
        new_y = _moved(y, moves, tableau.weights, slopes)
        in_y = _moved(torch.zeros_like(y), moves, tableau.error, slopes)
        scale = atol + rtol * torch.maximum(y.abs(), new_y.abs())
        error_y = (in_y / scale).flatten(1).square().mean(1).sqrt()
        on_host = _on_host([*rates, error_y])
        rates_SB, error = on_host[:-1], on_host[-1]
        with np.errstate(invalid="ignore"):  # of rows that are not finite
            new_integral = integral + moves * (tableau.weights @ rates_SB)
            in_integral = moves * (tableau.error @ rates_SB)
        allowed = atol + rtol * np.maximum(np.abs(integral), np.abs(new_integral))
        error = np.maximum(error, np.abs(in_integral) / allowed)

        accepted = going & (error <= 1)  # an error that is no number is not
        took = torch.from_numpy(accepted).to(y.device)
        y = _where(took, new_y, y)
        first = _where(took, slopes[-1], first[0]), _where(took, rates[-1], first[1])
        integral = np.where(accepted, new_integral, integral)
        u = np.where(accepted, np.where(last, end, u + h), u)
        h = h * _growth(error)
        going &= (u < end) & (h >= _LEAST * (end - start))
        if not going.any():
            break
    return Solution(y, integral, n_evaluations, u >= end)


def _stages(
    field: Field, tableau: Tableau, y: torch.Tensor, u_B: Array, h_B: Array, first: Slope
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """f and g at every stage; `first` is what they are at (y, u)."""
    slopes, rates = [first[0]], [first[1]]
    for node, row in zip(tableau.nodes[1:], tableau.lower, strict=True):
        slope, rate = field(_moved(y, h_B, row, slopes), u_B + node * h_B)
        slopes.append(slope)
        rates.append(rate)
    return slopes, rates


def _moved(
    y: torch.Tensor, h_B: Array, weights: Sequence[float], slopes: Sequence[torch.Tensor]
) -> torch.Tensor:
    """y + h times the weighted sum of slopes."""
    total = torch.zeros_like(y)
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            total = total + weight * slope
    h = torch.from_numpy(h_B).to(y.dtype).to(y.device)
    return y + h.view(-1, *[1] * (y.ndim - 1)) * total


def _growth(error: Array) -> Array:
    """By how much the next step is longer; an error that is no number shrinks it the most."""
    with np.errstate(divide="ignore"):
        growth: Array = np.clip(_SAFETY * error**-0.2, _SHRINK, _GROW)
    return np.nan_to_num(growth, nan=_SHRINK)


def _where(rows: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    return torch.where(rows.view(-1, *[1] * (new.ndim - 1)), new, old)


def _on_host(columns: Sequence[torch.Tensor]) -> Array:
    """(n, B) float64 of n tensors (B,)."""
    stacked: Array = torch.stack(list(columns)).cpu().double().numpy()
    return stacked
