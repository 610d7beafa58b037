"""Robustness: accuracy against the strength of corruptions, and on shifted data against usual data.

Tables are a header and rows of text, in percent; figures are of the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, PercentFormatter
from numpy.typing import NDArray
from scipy.special import expit, logit

from zsd_ray.reports.figures import INK, MUTED, style
from zsd_ray.reports.series import series
from zsd_ray.stats.intervals import wilson
from zsd_ray.studies.sweeps.effective_robustness import (
    BaselineLine,
    Counted,
    Shifted,
    effective_robustness,
)
from zsd_ray.studies.sweeps.robustness_rows import CorruptedAccuracy, ShiftedAccuracy

Table = list[tuple[str, ...]]
Array = NDArray[np.float64]

CORRUPTION_NOTE = (
    "Accuracy in percent with its 95% interval, by the strength of the corruption; clean is "
    "without any. Mean: over the strengths that are there. All strengths have the same images, so "
    "two of a row differ by less chance than their intervals say."
)
SHIFT_NOTE = (
    "Accuracy in percent with its Wilson 95% interval. Expected: what the line through the "
    "baselines (over the logits of both accuracies) gives a model of this accuracy on the usual "
    "data. Effective robustness: what the model has beyond that, in points, with its 95% interval "
    "by a parametric bootstrap over all accuracies (Taori et al. 2020); of a baseline, how far it "
    "lies from the line that it is a part of."
)
CORRUPTION_CAPTION = (
    "Accuracy against the strength of each corruption, with 95% intervals; 0 is without it. The "
    "dotted line is chance."
)
SHIFT_CAPTION = (
    "Accuracy on shifted data against accuracy on the usual data, on logit axes, with Wilson 95% "
    "intervals. Solid: the line through the baselines; above it is effective robustness (Taori et "
    "al. 2020). Dashed: equal accuracy on both."
)

_STRENGTHS = (1, 2, 3, 4, 5)
_ACROSS = 3  # panels of one data set

# Accuracies to mark on a logit axis: the first of these of which three are in sight.
_LOW = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
_TICKS = (
    np.array([*_LOW, 0.5, *(1 - share for share in reversed(_LOW))]),
    np.arange(1, 100) / 100,
    np.arange(1, 1000) / 1000,
)


def corruption_table(rows: Sequence[CorruptedAccuracy]) -> Table:
    """Return one row per data set, name and kind of corruption, one column per strength."""
    clean = {(row.dataset, row.name): row for row in rows if row.kind is None}
    groups: dict[tuple[str, str, str], dict[int, CorruptedAccuracy]] = {}
    for row in rows:
        if row.kind is not None:
            groups.setdefault((row.dataset, row.name, row.kind), {})[row.strength] = row
    table: Table = [("data set", "model", "corruption", "clean", *map(str, _STRENGTHS), "mean")]
    for (dataset, name, kind), found in groups.items():
        cells = (_interval(found.get(strength)) for strength in _STRENGTHS)
        mean = f"{100 * np.mean([row.value for row in found.values()]):.1f}"
        start = _interval(clean.get((dataset, name)))
        table.append((dataset, name, kind, start, *cells, mean))
    return table


@style
def accuracy_by_strength(rows: Sequence[CorruptedAccuracy]) -> Figure:
    """Plot one panel per data set and kind of corruption, one line per name; needs a corrupted
    row."""
    damaged = [row for row in rows if row.kind is not None]
    datasets = _distinct(row.dataset for row in damaged)
    panels = list(dict.fromkeys((row.dataset, row.kind) for row in damaged))
    if len(datasets) > 1:
        kinds = _distinct(kind for _, kind in panels if kind is not None)
        panels = [(dataset, kind) for dataset in datasets for kind in kinds]
        n_across = len(kinds)
    else:
        n_across = min(_ACROSS, len(panels))
    n_down = -(-len(panels) // n_across)
    names = _distinct(row.name for row in damaged)
    figure = _figure(3.1 * n_across, 0.6 + 2.4 * n_down, _looks(names))
    grid = figure.subplots(n_down, n_across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (dataset, kind) in zip(grid, panels, strict=False):
        axes.set_title(f"{dataset}, {kind}", fontsize=10.5, loc="left", color=INK)
        own = [row for row in rows if row.dataset == dataset and row.kind in (kind, None)]
        for number, name in enumerate(names):
            _curve(axes, [row for row in own if row.name == name], number)
        for chance in {row.chance for row in own if row.chance is not None}:
            axes.axhline(chance, color=MUTED, linestyle=":", linewidth=1)
        axes.tick_params(labelbottom=True)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    grid[0].set_xlim(-0.2, 5.2)
    grid[0].set_xticks(range(6))
    grid[0].set_ylim(0, 1.02)
    grid[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    figure.supxlabel("strength of the corruption", color=INK, fontsize=10.5)
    figure.supylabel("accuracy", color=INK, fontsize=10.5)
    return figure


def shift_table(rows: Sequence[ShiftedAccuracy]) -> Table:
    """Return one row per shifted data set and name, baselines last."""
    table: Table = [
        ("shifted data", "model", "usual", "shifted", "expected", "effective robustness")
    ]
    for dataset in _distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        baselines = [_shifted(row) for row in own if row.is_baseline]
        line = _line(own)
        for row in sorted(own, key=lambda row: row.is_baseline):
            name = f"{row.name} (baseline)" if row.is_baseline else row.name
            shares = (_counted(row.id_correct, row.id_images), _counted(*_shifted(row).ood))
            known = _expected(row, baselines) if line else ("-", "-")
            table.append((dataset, name, *shares, *known))
    return table


@style
def ood_against_id(rows: Sequence[ShiftedAccuracy]) -> Figure:
    """Plot one panel per shifted data set; needs a row."""
    datasets = _distinct(row.dataset for row in rows)
    n_across = min(_ACROSS, len(datasets))
    n_down = -(-len(datasets) // n_across)
    names = _distinct(row.name for row in rows if not row.is_baseline)
    baselines = any(row.is_baseline for row in rows)
    figure = _figure(3.7 * n_across, 0.7 + 3.4 * n_down, _looks(names, baselines))
    grid = figure.subplots(n_down, n_across, squeeze=False).ravel()
    for axes, dataset in zip(grid, datasets, strict=False):
        axes.set_title(dataset, fontsize=10.5, loc="left", color=INK)
        own = [row for row in rows if row.dataset == dataset]
        for row in own:
            _cross(axes, row, names)
        _limits(axes, own)
        axes.axline((0, 0), slope=1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        line = _line(own)
        if line is not None:
            start = (0, line.intercept)
            axes.axline(start, slope=line.slope, color=MUTED, linewidth=1.6, zorder=1)
    for axes in grid[len(datasets) :]:
        axes.set_visible(False)
    figure.supxlabel("accuracy on the usual data", color=INK, fontsize=10.5)
    figure.supylabel("accuracy on shifted data", color=INK, fontsize=10.5)
    return figure


def _curve(axes: Axes, rows: Sequence[CorruptedAccuracy], number: int) -> None:
    rows = sorted(rows, key=lambda row: row.strength)
    colour, marker = series(number)
    x = [row.strength for row in rows]
    low, high = [row.low for row in rows], [row.high for row in rows]
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(x, [row.value for row in rows], color=colour, marker=marker, markersize=4.5)


def _cross(axes: Axes, row: ShiftedAccuracy, names: Sequence[str]) -> None:
    """A point with both intervals, in logits."""
    x, y = (_logits(*counts) for counts in _shifted(row))
    if row.is_baseline:
        colour, marker, size = MUTED, "o", 4.0
    else:
        (colour, marker), size = series(names.index(row.name)), 6.0
    axes.errorbar(
        x[1], y[1], xerr=[[x[1] - x[0]], [x[2] - x[1]]], yerr=[[y[1] - y[0]], [y[2] - y[1]]],
        fmt=marker, color=colour, markersize=size, elinewidth=1, zorder=2 if row.is_baseline else 3,
    )  # fmt: skip


def _limits(axes: Axes, rows: Sequence[ShiftedAccuracy]) -> None:
    """All intervals, and a piece of the line of equal accuracies."""
    x, y = (np.array([_logits(*_shifted(row)[i]) for row in rows]) for i in (0, 1))
    left, right, bottom = x.min(), x.max(), y.min()
    top = max(y.max(), left + 0.3 * (right - left))
    for low, high, axis, limit in (
        (left, right, axes.xaxis, axes.set_xlim),
        (min(bottom, right), top, axes.yaxis, axes.set_ylim),
    ):
        room = 0.06 * (high - low)
        limit(low - room, high + room)
        axis.set_major_locator(FixedLocator(_ticks(low - room, high + room).tolist()))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * expit(value):.3g}%"))


def _ticks(low: float, high: float) -> Array:
    """Logits of round accuracies in sight, at most seven."""
    inside = [
        found
        for shares in _TICKS
        if len(found := (logits := logit(shares))[(logits >= low) & (logits <= high)]) > 2
    ]
    kept: list[float] = []
    for tick in inside[0] if inside else [(low + high) / 2]:
        if not kept or tick - kept[-1] >= (high - low) / 7:
            kept.append(float(tick))
    return np.array(kept)


def _logits(correct: int, n: int) -> Array:
    """Return finite logits of the low end of Wilson's interval, the accuracy, and the high end."""
    low, high = wilson(correct, n)
    nearest = 0.5 / n
    return np.asarray(logit(np.clip([low, correct / n, high], nearest, 1 - nearest)))


def _looks(names: Sequence[str], baselines: bool = False) -> list[Line2D]:
    """What the legend shows."""
    looks = [(name, *series(number)) for number, name in enumerate(names)]
    looks += [("baselines", MUTED, "o")] if baselines else []
    return [
        Line2D([], [], color=colour, marker=marker, markersize=5, label=name)
        for name, colour, marker in looks
    ]


def _figure(width: float, height: float, looks: Sequence[Line2D]) -> Figure:
    """An empty figure for panels of this many inches in all, and a legend above them."""
    width = max(5.6, width)
    longest = max(len(str(look.get_label())) for look in looks)
    n_columns = min(len(looks), max(1, int(width / (0.08 * (longest + 7)))))
    n_rows = -(-len(looks) // n_columns)
    figure = Figure(figsize=(width, height + 0.22 * n_rows))
    figure.legend(handles=looks, loc="outside upper left", ncols=n_columns)
    return figure


def _shifted(row: ShiftedAccuracy) -> Shifted:
    return Shifted(Counted(row.id_correct, row.id_images), Counted(row.ood_correct, row.ood_images))


def _line(rows: Sequence[ShiftedAccuracy]) -> BaselineLine | None:
    """None where the baselines make no line."""
    try:
        return BaselineLine.fit([_shifted(row) for row in rows if row.is_baseline])
    except ValueError:
        return None


def _expected(row: ShiftedAccuracy, baselines: Sequence[Shifted]) -> tuple[str, str]:
    """What the line gives, and what the row has beyond it."""
    found = effective_robustness(_shifted(row), baselines)
    rho = found.rho
    beyond = f"{100 * rho.value:+.1f}"
    if not row.is_baseline:
        beyond += f" [{100 * rho.low:+.1f}, {100 * rho.high:+.1f}]"
    return f"{100 * found.expected:.1f}", beyond


def _interval(row: CorruptedAccuracy | None) -> str:
    return "-" if row is None else _percent(row.value, row.low, row.high)


def _counted(correct: int, n: int) -> str:
    return _percent(correct / n, *wilson(correct, n))


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
