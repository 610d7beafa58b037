"""Checks of the numbers of a noise schedule in scheduler_config.json.

The libraries accept any numbers: betas that fall, or one step, make a model that gives wrong
    scores. No library here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsd_ray.models.files.network_config import Range, check_reals
from zsd_ray.records.errors import UserError

_SHORTEST_CHAIN, _LONGEST_CHAIN = 2, 1_000_000
_STEPS = 1000
"""The number of steps where a configuration names none; the libraries' own."""
_BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid")
_RISING = ("linear", "scaled_linear", "sigmoid")
"""Those that go from `beta_start` to `beta_end`; the others ignore both."""
_BETAS = Range(0.0, 1.0, open_above=True)
_TRAINED_BETAS = Range(0.0, 1.0)
"""The last of a list is 1 where a schedule ends without signal."""
_SIGMAS = Range(1e-12, 1e12, open_below=False)
_RHO = Range(0.1, 1000.0, open_below=False)
"""The power of EDM's ramp, 7 as published: much beyond, its ends are infinite, or the same."""


def check_numbers(path: Path, config: Mapping[str, Any]) -> None:
    """Check the numbers that a schedule is made from.

    Args:
        path: of the file; config: its content.

    Raises:
        UserError: one is impossible.
    """
    steps = config.get("num_train_timesteps", _STEPS)
    if type(steps) is not int or not _SHORTEST_CHAIN <= steps <= _LONGEST_CHAIN:
        raise UserError(
            f"{path}: num_train_timesteps is {steps!r}, and a whole number from {_SHORTEST_CHAIN} "
            f"to {_LONGEST_CHAIN:,} is expected; take another copy of the model"
        )
    for key in ("beta_start", "beta_end"):
        check_reals(path, key, config.get(key), _BETAS)
    for key in ("sigma_min", "sigma_max", "sigma_data"):
        check_reals(path, key, config.get(key), _SIGMAS)
    check_reals(path, "rho", config.get("rho"), _RHO)
    trained = config.get("trained_betas")
    if trained is not None:
        _check_trained(path, trained, steps)
    elif config.get("beta_schedule") is not None:
        _check_schedule(path, config)
    _check_order(path, config, "sigma_min", "sigma_max")


def _check_trained(path: Path, betas: Any, steps: int) -> None:
    """Check a list of betas, one per step."""
    if not isinstance(betas, list) or len(betas) != steps:
        came = f"{len(betas):,} numbers" if isinstance(betas, list) else repr(betas)[:80]
        raise UserError(
            f"{path}: trained_betas is {came}, and a list of {steps:,} numbers is expected, one "
            "for each of num_train_timesteps; take another copy of the model"
        )
    check_reals(path, "trained_betas", betas, _TRAINED_BETAS, nullable=False)
    check_reals(path, "trained_betas", betas[:-1], _BETAS)


def _check_schedule(path: Path, config: Mapping[str, Any]) -> None:
    """Check the kind of a chain, and that its noise grows."""
    kind = config["beta_schedule"]
    if kind not in _BETA_SCHEDULES:
        raise UserError(
            f"{path}: beta_schedule is {kind!r}, and one of {', '.join(_BETA_SCHEDULES)} is "
            "expected; take another copy of the model"
        )
    if kind in _RISING:
        _check_order(path, config, "beta_start", "beta_end")


def _check_order(path: Path, config: Mapping[str, Any], low: str, high: str) -> None:
    """Check that there is more noise at the end than at the start, if both are known."""
    start, end = config.get(low), config.get(high)
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return  # nothing is said of it
    if not start < end:
        raise UserError(
            f"{path}: {low} is {start!r} and {high} {end!r}, and {low} must be below {high}; "
            "take another copy of the model"
        )
