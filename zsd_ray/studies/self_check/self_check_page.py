"""The results of a self-check: lines for the terminal, and a page."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsd_ray.analysis.comparison import Figures
from zsd_ray.reports.figures import BLUE, MUTED, ORANGE, log_axis, style
from zsd_ray.reports.lines import columns, with_interval
from zsd_ray.reports.page import inline, render
from zsd_ray.studies.self_check.self_check_record import LevelAccuracy, SelfCheck

_NAMES = "the model's own images", "the data"


def self_check_lines(found: SelfCheck) -> str:
    """A table of both sets, and what it means."""
    return f"{columns(_table(found))}\n\n{verdict(found)}"


def render_self_check(found: SelfCheck, model: str, data: str, grid_png: bytes | None) -> str:
    """The page.

    Args:
        model, data: what they are called.
        grid_png: some of the images that the model made.
    """
    caption = (
        f"The share of single draws that put the true class of {found.n_classes:,} first, by the "
        "signal-to-noise ratio of the draw, with Wilson's 95% interval; left is more noise. The "
        "dashed line is a guess."
    )
    header, *rows = _table(found)
    encoded = None if grid_png is None else base64.b64encode(grid_png).decode()
    return render(
        "studies/self_check/self_check.html",
        title=f"Self-check of {model}",
        data=data,
        found=found,
        header=header,
        rows=rows,
        verdict=verdict(found),
        svg=inline(figure(found), "levels", caption),
        caption=caption,
        grid=encoded and f"data:image/png;base64,{encoded}",
    )


def verdict(found: SelfCheck) -> str:
    """Return the likely cause of errors, as far as the two intervals show."""
    own, data = found.own, found.data
    if own.accuracy_low is None or own.accuracy_high is None:
        return "None of the images that the model made could be classified."
    guess = 1 / found.n_classes
    if own.accuracy_low <= guess:
        return (
            "The model does not classify the images that it makes itself better than a guess: its "
            "prompts, its guidance-free samples or its training are at fault, whatever the data."
        )
    if data.accuracy_low is None or data.accuracy_high is None:
        return "The data has no labels, so there is nothing to hold the model's own images against."
    if data.accuracy_high < own.accuracy_low:
        return (
            "The model classifies its own images better than the data, beyond chance: the data is "
            "unlike what it was trained on, or its labels mean something else than the prompts."
        )
    if own.accuracy_high < data.accuracy_low:
        return (
            "The model classifies the data better than its own images, beyond chance: its samples "
            "are poor, or do not show what their prompts say."
        )
    return "Both are classified about equally well, as far as so few images tell."


def _table(found: SelfCheck) -> list[list[str]]:
    rows = [["", "images", "accuracy"]]
    for name, of in zip(_NAMES, (found.own, found.data), strict=True):
        rows.append([name, f"{of.images:,}", _accuracy(of)])
    return rows


def _accuracy(of: Figures) -> str:
    return with_interval(of.accuracy, of.accuracy_low, of.accuracy_high)


@style
def figure(found: SelfCheck) -> Figure:
    """The share of right draws by the signal-to-noise ratio, of both sets."""
    drawn = Figure(figsize=(6.6, 4.0))
    axes = drawn.subplots()
    axes.axhline(1 / found.n_classes, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    sets = (found.own_levels, BLUE, "o"), (found.data_levels, ORANGE, "s")
    for (levels, colour, marker), name in zip(sets, _NAMES, strict=True):
        _curve(axes, levels, colour, marker, name)
    log_axis(axes, "x")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("signal-to-noise ratio of the draw")
    axes.set_ylabel("draws with the true class first")
    axes.legend(loc="upper left", fontsize=9)
    return drawn


def _curve(
    axes: Axes, levels: Sequence[LevelAccuracy], colour: str, marker: str, name: str
) -> None:
    points = [
        (math.sqrt(each.snr_low * each.snr_high), each.accuracy, each.low, each.high)
        for each in levels
        if each.accuracy is not None
    ]
    if not points:
        return
    x, y, low, high = np.array(points, dtype=float).T
    reach = [y - low, high - y]
    axes.errorbar(
        x, y, yerr=reach, color=colour, marker=marker, markersize=5, elinewidth=1.2, label=name
    )
