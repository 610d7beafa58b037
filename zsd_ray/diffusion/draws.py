"""Draws: the pair (t_i, eps_i) number i of one image, shared by all its classes.

A draw is addressed, not stored: it is a function of (seed, image id, i) by numpy's counter-based
Philox generator, made on the CPU. So every class, worker, retry, batch size and cluster size sees
the same noise ("shared noise", Clark & Jaini 2023, section 3), and a draw travels as one integer.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Timesteps = Literal["uniform", "stratified"]

STRATA = 10
"""Draws in one block of stratified timesteps."""

_NOISE, _TIME = 0, 1  # the streams of one image, told apart by the last word of the counter


def _generator(seed: int, image_id: str, stream: int, index: int) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}\0{image_id}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype=np.uint64)
    # A stream of one draw owns 2**64 counter values, so no two ever meet.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, index, stream]))


def noise(seed: int, image_id: str, draws: range, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return eps ~ N(0, I) of each draw, (len(draws), *shape) float32."""
    out = np.empty((len(draws), *shape), dtype=np.float32)
    for row, draw in zip(out, draws, strict=True):
        _generator(seed, image_id, _NOISE, draw).standard_normal(dtype=np.float32, out=row)
    return out


def times(
    seed: int,
    image_id: str,
    draws: range,
    rule: Timesteps = "uniform",
    t_range: tuple[float, float] = (0.0, 1.0),
) -> NDArray[np.float64]:
    """Return t of each draw, (len(draws),) float64 inside `t_range`.

    uniform: independent, t ~ U(low, high), as in both papers' estimators.
    stratified: each block of STRATA draws has one t in each of STRATA equal slices, in random
    order and with one random offset a block. Each t alone is still uniform, so the mean over
    draws estimates the same quantity, with less variance.
    """
    low, high = t_range
    if rule == "uniform":
        unit = [_generator(seed, image_id, _TIME, draw).random() for draw in draws]
    else:
        unit = [_stratified(seed, image_id, draw) for draw in draws]
    return low + (high - low) * np.asarray(unit, dtype=np.float64)


def _stratified(seed: int, image_id: str, draw: int) -> float:
    block, place = divmod(draw, STRATA)
    generator = _generator(seed, image_id, _TIME, block)
    offset = generator.random()
    order = generator.permutation(STRATA)
    return float((order[place] + offset) / STRATA)
