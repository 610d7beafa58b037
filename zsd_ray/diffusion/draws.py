"""Draws: the pair (t_i, eps_i) number i of one image, shared by all its classes.

A draw is addressed, not stored: it is a function of (seed, image id, i) by numpy's counter-based
Philox generator, made on the CPU. So every class, worker, retry, batch size and cluster size sees
the same noise ("shared noise", Clark & Jaini 2023, section 3), and a draw travels as one integer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zsd_ray.config.classifier_method import Timesteps
from zsd_ray.diffusion.time_density import TimeDensity

STRATA = 10
"""Times in one block of stratified timesteps."""

# The streams of one image, distinguished by the last word of the counter.
_NOISE, _TIME, _UNIFORM = 0, 1, 2


def _generator(seed: int, image_id: str, stream: int, index: int) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}\0{image_id}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype=np.uint64)
    # A stream of one draw owns 2**64 counter values, so no two ever meet.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, index, stream]))


def noise(seed: int, image_id: str, draws: range, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return eps ~ N(0, I) of each draw, (len(draws), *shape) float32."""
    out = np.empty((len(draws), *shape), dtype=np.float32)
    for row, draw in enumerate(draws):
        _generator(seed, image_id, _NOISE, draw).standard_normal(dtype=np.float32, out=out[row])
    return out


def times(
    seed: int,
    image_id: str,
    draws: range,
    rule: Timesteps = "uniform",
    t_range: tuple[float, float] = (0.0, 1.0),
    *,
    grid_points: int | None = None,
    grid_stages: Sequence[int] = (),
    density: TimeDensity | None = None,
) -> NDArray[np.float64]:
    """Return t of each draw, (len(draws),) float64 inside `t_range`.

    uniform: independent, t ~ U(low, high), as in both papers' estimators.
    stratified: each block of STRATA draws has one t in each of STRATA equal slices: a grid, shifted
    round the range by one random offset a block (Cranley & Patterson 1976), in van der Corput's
    order, so that the first few draws are spread, too. Each t alone is still uniform, so the mean
    over draws estimates the same quantity, with less variance.
    importance: likewise in slices of equal mass of `density`, over `t_range`. Each t alone has that
    density; scores are multiplied with its `correction` to estimate the same quantity.
    grid: the middles of `grid_points` equal slices (Li et al. 2023: "evenly spaced"),
    the same for every image, in van der Corput's order, in which those so far are always spread, or
    in the order of `staged_order`; then again from the first. Not random: the mean over draws is a
    quadrature, exact for no t that falls between.

    Args:
        grid_stages: numbers of draws after which those so far are to be evenly spaced and centred.
    """
    if rule == "uniform":
        unit = [_generator(seed, image_id, _TIME, draw).random() for draw in draws]
    elif rule == "grid":
        assert grid_points is not None
        order = staged_order(grid_points, tuple(grid_stages))
        unit = [(order[draw % grid_points] + 0.5) / grid_points for draw in draws]
    else:
        unit = [_stratified(seed, image_id, draw) for draw in draws]
    if rule == "importance":
        assert density is not None
        return density.quantile(np.asarray(unit))
    low, high = t_range
    return low + (high - low) * np.asarray(unit, dtype=np.float64)


def uniform(seed: int, image_id: str, draws: range, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return numbers in [0, 1) for uses other than t and eps, (len(draws), *shape) float64."""
    of_draws = [_generator(seed, image_id, _UNIFORM, draw).random(shape) for draw in draws]
    return np.stack(of_draws)


def _stratified(seed: int, image_id: str, number: int) -> float:
    block, place = divmod(number, STRATA)
    offset = _generator(seed, image_id, _TIME, block).random()
    return float((spread_order(STRATA)[place] / STRATA + offset) % 1.0)


@lru_cache(maxsize=16)
def spread_order(n: int) -> NDArray[np.intp]:
    """Return 0 .. n - 1 by their binary digits read backwards (van der Corput 1935)."""
    n_bits = max(1, (n - 1).bit_length())
    backwards = [int(f"{number:0{n_bits}b}"[::-1], 2) for number in range(n)]
    return np.argsort(np.argsort(backwards))


@lru_cache(maxsize=16)
def staged_order(n: int, stages: tuple[int, ...]) -> NDArray[np.intp]:
    """Return 0 .. n - 1 so that the first stages[i] are the middles of as many equal slices.

    As in the published code of Li et al. 2023 (eval_prob_adaptive.py), where a stage whose points
    do not contain those before draws all of its own and so has more draws than its number says.
    Here stages are nested: it draws what it lacks, evenly among its own points. Between two stages,
    and after the last, points follow in van der Corput's order.
    """
    order: list[int] = []
    for stage in [*sorted({stage for stage in stages if stage < n}), n]:
        own = [(2 * i + 1) * n // (2 * stage) for i in range(stage)]
        own = [point for point in own if point not in order]
        lacking = stage - len(order)
        new = [own[(2 * i + 1) * len(own) // (2 * lacking)] for i in range(lacking)]
        order += [new[place] for place in spread_order(lacking).tolist()]
    return np.asarray(order)
