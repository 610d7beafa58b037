"""Checks of the numbers in a classifier's configuration that describe its input.

The libraries accept any numbers. A mean of NaN makes every score NaN, a negative deviation a
negative of the picture, and one channel an error for each image of a run. No library here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsd_ray.records.errors import UserError

_LARGEST_SIDE = 8192
_LARGEST_CROP = 2.0
"""Of the picture's shorter side; a few models of timm's see a frame around it (1.15)."""


def check_input(path: Path, section: str, about: Mapping[str, Any]) -> None:
    """Check the numbers of a model's preprocessing; null stands for the library's default.

    Args:
        path: the configuration; section: the place in it, for messages.
        about: with `mean` and `std`, of open_clip `size`, of timm `input_size` and `crop_pct`.

    Raises:
        UserError: one is impossible.
    """

    def check(key: str, right: bool, wanted: str) -> None:
        if about.get(key) is not None and not right:
            where = f"{section}.{key}" if section else key
            raise UserError(
                f"{path}: {where} is {str(about[key])[:80]}, and {wanted} is expected; mend it, or "
                "take another copy of the model"
            )

    mean, std, size = about.get("mean"), about.get("std"), about.get("size")
    check("mean", _three(mean, -math.inf), "a list of three finite numbers")
    check("std", _three(std, 0.0), "a list of three finite numbers above 0")
    check("size", _sides(size, 2) or _is_side(size), f"one or two sides of 1 to {_LARGEST_SIDE:,}")
    for key in ("input_size", "test_input_size"):
        shape: Any = about.get(key)
        right = _sides(shape, 3) and shape[0] == 3
        check(key, right, f"[3, height, width] with sides of 1 to {_LARGEST_SIDE:,}")
    for key in ("crop_pct", "test_crop_pct"):
        crop: Any = about.get(key)
        right = _is_number(crop) and 0 < crop <= _LARGEST_CROP
        check(key, right, f"a number above 0, to {_LARGEST_CROP:g},")


def _three(value: Any, above: float) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(_is_number(number) and number > above for number in value)
    )


def _sides(value: Any, n: int) -> bool:
    return isinstance(value, list) and len(value) == n and all(map(_is_side, value))


def _is_side(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _LARGEST_SIDE


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
