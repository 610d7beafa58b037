"""MATLAB files, in which older data sets keep their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsd_ray.data.layouts.arrays import whole_numbers
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError


def column(location: Location, *path: str) -> NDArray[Any]:
    """Return one variable of a MATLAB file, or one field of a struct array in it, as (N,) values.

    Args:
        path: the variable's name, then perhaps the field's.

    Raises:
        UserError: the file is missing, is not a MATLAB file, or has no such variable or field.
    """
    from scipy.io import loadmat

    shown = location.shown
    with location.user_errors(f"{shown} as a MATLAB file"):
        found: Any = location.read(
            location.root, lambda file: loadmat(file, squeeze_me=True, variable_names=path[:1])
        )
    for name in path:
        known = found.dtype.names if isinstance(found, np.ndarray) else found
        if name not in (known or ()):
            raise UserError(f"{shown} has no {'.'.join(path)}; put the archive's own file there")
        found = found[name]
    return np.atleast_1d(found)


def numbers(location: Location, *path: str) -> NDArray[np.int64]:
    """Like `column`, for integers; raises UserError if there are none, or other values."""
    found = column(location, *path)
    with location.user_errors(f"{location.shown}: its {'.'.join(path)}"):
        values = whole_numbers(found.ravel().tolist())
        if not values:
            raise ValueError("there are none")
        return np.array(values, np.int64)
