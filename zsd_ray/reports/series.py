"""Colours and markers that distinguish runs, people and networks in one figure."""

from __future__ import annotations

from typing import NamedTuple

from zsd_ray.reports.figures import BLUE, ORANGE

# Okabe & Ito 2008, for red-green blindness; the first two follow the page from light to dark.
_COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")


class Series(NamedTuple):
    colour: str
    marker: str


def series(number: int) -> Series:
    """Return the style of series `number`; the first 42 are distinct."""
    return Series(_COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)])
