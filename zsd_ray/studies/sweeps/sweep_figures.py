"""Figures of a sweep: accuracy with its interval by data set, and by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from zsd_ray.reports.figures import INK, MUTED, style
from zsd_ray.reports.series import series
from zsd_ray.studies.sweeps.suite_config import CellResult

_ACROSS = 3


@style
def accuracies(results: Sequence[CellResult]) -> Figure:
    """Plot one panel per data set, one row per model and method; each with its interval and its
    cost.

    Args:
        results: with a value each.
    """
    columns = list(dict.fromkeys(result.cell.column for result in results))
    rows = list(dict.fromkeys((result.cell.model, result.cell.method) for result in results))
    models = list(dict.fromkeys(model for model, _ in rows))
    n_across = min(_ACROSS, len(columns))
    n_down = -(-len(columns) // n_across)
    size = (2.5 * n_across + 2.0, n_down * (0.75 + 0.42 * len(rows)) + 0.3)
    figure = Figure(figsize=size)
    grid = figure.subplots(n_down, n_across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, column in zip(grid, columns, strict=False):
        axes.set_title(column, fontsize=10.5, loc="left", color=INK)
        own = [result for result in results if result.cell.column == column]
        for result in own:
            place = rows.index((result.cell.model, result.cell.method))
            _point(axes, result, place, models.index(result.cell.model))
            _cost(axes, result, place)
        _chance(axes, own)
        axes.tick_params(labelbottom=True)
    for axes in grid[len(columns) :]:
        axes.set_visible(False)
    _share_axis(grid[0])
    grid[0].set_yticks(range(len(rows)), [f"{model}, {method}" for model, method in rows])
    grid[0].set_ylim(len(rows) - 0.4, -0.7)
    figure.supxlabel("accuracy", color=INK, fontsize=10.5)
    return figure


@style
def tasks(results: Sequence[CellResult]) -> Figure:
    """Plot one row per task of one data set, one mark per model and method, with its interval.

    Args:
        results: with a value each.
    """
    names = list(dict.fromkeys(str(result.cell.task) for result in results))
    who = list(dict.fromkeys((result.cell.model, result.cell.method) for result in results))
    figure = Figure(figsize=(7.5, 1.2 + len(names) * (0.16 + 0.13 * len(who))))
    axes = figure.subplots()
    for number, name in enumerate(who):
        shift = 0.6 * ((number + 0.5) / len(who) - 0.5)
        for result in results:
            if (result.cell.model, result.cell.method) == name:
                _point(axes, result, names.index(str(result.cell.task)) + shift, number)
        look = series(number)
        axes.plot([], [], look.marker, color=look.colour, label=", ".join(name))
    _chance(axes, results)
    _share_axis(axes)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("accuracy")
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def _point(axes: Any, result: CellResult, place: float, number: int) -> None:
    assert result.value is not None
    assert result.low is not None
    assert result.high is not None
    look = series(number)
    error = [[result.value - result.low], [result.high - result.value]]
    axes.errorbar(
        result.value, place, xerr=error, fmt=look.marker, color=look.colour, capsize=3, markersize=5
    )


def _cost(axes: Any, result: CellResult, place: float) -> None:
    """Write the evaluations per image above the point, inside the panel."""
    if not result.evaluations_per_image or result.value is None:
        return
    inside = "center" if 0.15 < result.value < 0.85 else "left" if result.value < 0.5 else "right"
    axes.annotate(
        f"{result.evaluations_per_image:,.0f}",
        (result.value, place),
        xytext=(0, 5),
        textcoords="offset points",
        ha=inside,
        fontsize=8,
        color=MUTED,
    )


def _chance(axes: Any, results: Sequence[CellResult]) -> None:
    for chance in np.unique([result.chance for result in results if result.chance is not None]):
        axes.axvline(chance, color=MUTED, linestyle=":", linewidth=1)


def _share_axis(axes: Any) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
