"""Draws simple shaded solids on a grey ground: a cube, a sphere, a can.

Computed point by point, so that the result does not depend on a drawing library. x goes right, y
down and z to the viewer; lengths are in pixels of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""Pixels along a side of a picture."""


def _unit(*xyz: float) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = np.array(xyz) / np.linalg.norm(xyz)
    return unit


_SAMPLES = 4  # points along a side of each pixel
_LIGHT = _unit(-0.4, -0.72, 0.56)
_SHINE = _unit(_LIGHT[0], _LIGHT[1], _LIGHT[2] + 1)  # between the light and the viewer
_AMBIENT, _DIFFUSE = 0.45, 0.75
_REACH = 1.2  # no solid is higher or wider than this times its size, from its centre

Points = NDArray[np.float64]
"""(P, Q), a value for each point round a solid."""


@dataclass(frozen=True)
class Solid:
    """A solid to draw.

    shape: "cube", "sphere" or "cylinder"; rgb: in 0 .. 255.
    x, y: its centre; size: half its height, about.
    """

    shape: str
    rgb: tuple[int, int, int]
    x: float
    y: float
    size: float


def draw(solids: Iterable[Solid], ground: int) -> Image.Image:
    """Draw a picture of SIDE x SIDE pixels, RGB; later solids are in front of earlier ones."""
    points = SIDE * _SAMPLES
    middle = (np.arange(points) + 0.5) / _SAMPLES
    picture = np.full((points, points, 3), float(ground))
    for solid in solids:
        rows, columns = (
            slice(*np.searchsorted(middle, [at - _REACH * solid.size, at + _REACH * solid.size]))
            for at in (solid.y, solid.x)
        )
        x, y = np.meshgrid(middle[columns] - solid.x, middle[rows] - solid.y)
        for inside, shade, shine in _SHAPES[solid.shape](x, y, solid.size):
            colour = shade[inside, None] * np.array(solid.rgb) + shine[inside, None] * 255
            picture[rows, columns][inside] = colour
    levels = np.round(np.clip(picture, 0, 255)).astype(np.uint8)
    return Image.fromarray(levels).reduce(_SAMPLES)


Faces = Iterable[tuple[NDArray[np.bool_], Points, Points]]
"""Of each face its points, how bright its colour is there, and how white."""


def _cube(x: Points, y: Points, size: float) -> Faces:
    """Draw a cube's front, top and right side, in cabinet projection."""
    depth = 0.5 * size
    left, right, top, bottom = -size, size - depth, -size + depth, size
    none = np.zeros_like(x)
    front = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    yield front, _lit(none, none, none + 1), none
    up = top - y
    lid = (up >= 0) & (up <= depth) & (left + up <= x) & (x <= right + up)
    yield lid, _lit(none, none - 1, none), none
    aside = x - right
    flank = (aside >= 0) & (aside <= depth) & (top - aside <= y) & (y <= bottom - aside)
    yield flank & ~lid, _lit(none + 1, none, none), none


def _sphere(x: Points, y: Points, size: float) -> Faces:
    u, v = x / size, y / size
    inside = u**2 + v**2 <= 1
    depth = np.sqrt(np.clip(1 - u**2 - v**2, 0, None))
    shine = np.clip(_SHINE[0] * u + _SHINE[1] * v + _SHINE[2] * depth, 0, None) ** 24
    yield inside, _lit(u, v, depth), 0.6 * shine


def _cylinder(x: Points, y: Points, size: float) -> Faces:
    """Draw a can that is taller than wide, seen slightly from above."""
    wide, tall = 0.68 * size, 1.1 * size
    flat = 0.34 * wide
    none = np.zeros_like(x)
    u = x / wide
    bow = flat * np.sqrt(np.clip(1 - u**2, 0, None))
    lid_y, foot_y = -tall + flat, tall - flat
    side = (np.abs(u) <= 1) & (y >= lid_y) & (y <= foot_y + bow)
    yield side, _lit(u, none, np.sqrt(np.clip(1 - u**2, 0, None))), none
    lid = (np.abs(u) <= 1) & (np.abs(y - lid_y) <= bow)
    yield lid, _lit(none, none - 1, none), none


_SHAPES: dict[str, Callable[[Points, Points, float], Faces]] = {
    "cube": _cube,
    "sphere": _sphere,
    "cylinder": _cylinder,
}


def _lit(x: Points, y: Points, z: Points) -> Points:
    """Shade by Lambert's law, for the normal (x, y, z) of length 1."""
    facing = _LIGHT[0] * x + _LIGHT[1] * y + _LIGHT[2] * z
    lit: Points = _AMBIENT + _DIFFUSE * np.clip(facing, 0, None)
    return lit
