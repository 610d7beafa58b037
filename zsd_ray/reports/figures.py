"""Figures from saved rows, as matplotlib Figures, and `svg`, which puts one into a page.

Every text is shown literally: class names come from users, and `$` starts no formula. Colours
are chosen for red-green blindness (Okabe & Ito 2008) and follow the page from light to dark.
Shapes: N images, K classes, n draws.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from html import escape
from typing import Literal

import numpy as np
import pyarrow as pa
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from zsd_ray.reports.columns import running_means
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.label_ranks import survivors

INK, MUTED, GRID, BLUE, ORANGE = "#1c2127", "#5f6b7a", "#d9dde3", "#0072b2", "#d55e00"
_THEME = {INK: "ink", MUTED: "muted", GRID: "line", BLUE: "blue", ORANGE: "orange"}

MAX_CLASS_ROWS = 40
MAX_COUNTED_CLASSES = 15

_PLAIN, _PERCENT = "{x:,.0f}", "{x:.0%}"

style = rc_context(
    {
        "axes.axisbelow": True,
        "axes.edgecolor": MUTED,
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "font.family": "DejaVu Sans",
        "font.size": 10.5,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "text.color": INK,
        "text.parse_math": False,
        "text.usetex": False,
        "xtick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.color": MUTED,
        "ytick.labelcolor": INK,
    }
)


@style
def svg(figure: Figure, name: str, description: str) -> str:
    """Return the figure as an <svg> element for a page that sets --ink, --muted, --line, --blue,
    --orange.

    `name` keeps its ids apart from those of other figures; `description` is for screen readers.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The browser draws the text, with fonts for scripts that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]

    def adapt(match: re.Match[str]) -> str:
        tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", match[0])
        tag = tag.replace("xlink:href", "href")
        for colour, variable in _THEME.items():
            tag = tag.replace(colour, f"var(--{variable})")
        return tag

    # Only tags: matplotlib escapes < and > in text and in attributes, and text stays as it is.
    text = re.sub(r"<[^>]*>", adapt, text)
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None
    opening = f'<svg {view_box[0]} role="img" aria-label="{escape(description)}">'
    return opening + text[text.index(">") + 1 :].strip()


@style
def per_class(counts: ArrayLike, successes: ArrayLike, classes: Sequence[str]) -> Figure:
    """Plot the accuracy of each class that has images, best first, with its Wilson 95% interval.

    counts, successes: (K,). Above 40 classes only the 20 best and the 20 worst.
    """
    counts, successes = np.asarray(counts), np.asarray(successes)
    seen = np.flatnonzero(counts)
    order = seen[np.lexsort((seen, -counts[seen], -successes[seen] / counts[seen]))]
    half = MAX_CLASS_ROWS // 2
    cut = len(order) > MAX_CLASS_ROWS
    if cut:
        order = np.concatenate([order[:half], order[-half:]])
    rows = np.arange(len(order), dtype=float)
    rows[half:] += float(cut)
    share = successes[order] / counts[order]
    bounds = [wilson(int(successes[k]), int(counts[k])) for k in order]
    reach = np.abs(np.array(bounds).reshape(-1, 2).T - share)

    figure = Figure(figsize=(6.2, 1.1 + 0.25 * (rows[-1] + 1)))
    axes = figure.subplots()
    overall = successes.sum() / counts.sum()
    axes.axvline(overall, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.errorbar(share, rows, xerr=reach, fmt="o", color=BLUE, markersize=5, elinewidth=1.6)
    if cut:
        axes.axhline(half, color=GRID, linewidth=6)
    axes.set_yticks(rows, [f"{shortened(classes[k])}  (n={counts[k]:,})" for k in order])
    axes.set_ylim(rows[-1] + 0.7, -0.7)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("accuracy")
    return figure


@style
def confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Plot the share of each label's images (row) by prediction (column): (K, K) counts.

    The counts themselves are printed for at most 15 classes.
    """
    n = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # The share is the opacity, so that an empty cell has the page's colour, light or dark.
    cells = np.dstack([np.broadcast_to(to_rgb(BLUE), (n, n, 3)), share])
    small = n <= MAX_COUNTED_CLASSES
    figure = Figure(figsize=(6.2, 5.6) if small else (10, 9))
    axes = figure.subplots()
    axes.imshow(cells, interpolation="none")
    names = [shortened(name) for name in classes]
    axes.set_yticks(range(n), names)
    axes.set_xticks(range(n), names)
    if not small:
        axes.tick_params(axis="x", labelrotation=90)
    elif max(map(len, names)) > 3:
        axes.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="major", visible=False)
    axes.grid(which="minor", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    axes.spines[:].set_visible(False)
    if small:
        for i, j in zip(*np.nonzero(matrix), strict=True):
            ink = "#ffffff" if share[i, j] > 0.8 else INK
            axes.text(j, i, f"{matrix[i, j]:,}", ha="center", va="center", color=ink)
    return figure


@style
def evaluations(n_evaluations: ArrayLike) -> Figure:
    """Plot a histogram of evaluations per image: (N,); log x if they span over two decades."""
    values = np.asarray(n_evaluations, dtype=float)
    low, high = values.min(), values.max()
    log = low > 0 and high / low > 100
    n_bins = min(30, max(5, int(2 * np.sqrt(values.size))))
    if low == high:
        edges = np.array([low - 0.5, low + 0.5])
    else:
        edges = (np.geomspace if log else np.linspace)(low, high, n_bins + 1)
    figure = Figure(figsize=(6.2, 3.6))
    axes = figure.subplots()
    axes.hist(values, bins=edges.tolist(), color=BLUE, alpha=0.55, edgecolor=BLUE, linewidth=0.6)
    middle, mean = float(np.median(values)), float(values.mean())
    axes.axvline(middle, color=INK, linewidth=1.6, label=f"median {middle:,.0f}")
    axes.axvline(mean, color=ORANGE, linewidth=1.6, linestyle="--", label=f"mean {mean:,.0f}")
    if log:
        log_axis(axes, "x")
    else:
        if low == high:
            axes.set_xlim(low - 3, low + 3)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter(_PLAIN)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(_PLAIN)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("evaluations of one image")
    axes.set_ylabel("images")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


@style
def surviving(draws_per_class: Sequence[ArrayLike], one_left: ArrayLike) -> Figure:
    """Plot classes left against draws: mean over images, and 10-90% band; N rows of (K,), (N,).

    `one_left` marks the images that stopped because one class was left.
    """
    # A class without draws was never in the race; an image of such classes alone had none.
    stops = np.unique(np.concatenate([np.asarray(row) for row in draws_per_class]))
    stops = stops[stops > 0] if stops[-1] > 0 else np.array([1])
    n_classes = max(1, *(int(np.count_nonzero(row)) for row in draws_per_class))
    if len(stops) > 300:
        stops = np.unique(stops[np.geomspace(1, len(stops), 300).astype(int) - 1])
    log = bool(stops[-1] > 100)
    start = max(1, int(stops[0]) // 2) if log else 0
    grid = np.unique(np.concatenate([[start], stops]))
    left = survivors(draws_per_class, one_left, grid)
    low, high = np.percentile(left, [10, 90], axis=0)
    figure = Figure(figsize=(6.2, 3.6))
    axes = figure.subplots()
    axes.fill_between(grid, low, high, step="post", fc=BLUE, alpha=0.2, label="10 to 90% of images")
    axes.step(grid, left.mean(axis=0), where="post", color=BLUE, linewidth=2, label="mean")
    axes.set_xlim(grid[0], grid[-1])
    if log:
        log_axis(axes, "x")
    if n_classes > 20:
        log_axis(axes, "y")
        axes.set_ylim(0.9, n_classes * 1.15)
    else:
        axes.set_ylim(0, n_classes * 1.04)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("draws")
    axes.set_ylabel("classes left")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


@style
def elimination_trace(
    draws: pa.Table, classes: Sequence[str], label: int | None, prediction: int
) -> Figure:
    """Plot the elimination of the classes of one image, from its rows of OUTPUT/scores.

    A line is a class: its mean score less that of the prediction over the same draws. The draws
    are shared, so the part common to all classes (most of the noise) cancels, as in the rule.
    """
    means = running_means(draws)
    n = len(means)
    above = means - means[:, [prediction]]
    given = np.isfinite(above).sum(axis=0)
    shown = np.flatnonzero(given)
    figure = Figure(figsize=(10.4, 3.4))
    axes = figure.subplots()
    x = np.arange(1, n + 1)
    marked = [prediction]
    if label is not None and label != prediction and label in shown:
        marked.append(label)
    others = [int(k) for k in shown[np.argsort(-given[shown], kind="stable")] if k not in marked]
    lines = [np.column_stack([x[: given[k]], above[: given[k], k]]) for k in others]
    # Hundreds of lines would make megabytes of SVG; they are background, so a bitmap will do.
    many = len(lines) > 60
    opacity = 0.15 if many else 0.55
    axes.add_collection(
        LineCollection(lines, colors=MUTED, linewidths=0.9, alpha=opacity, rasterized=many)
    )
    for k in marked:
        axes.plot(x, above[:, k], color=BLUE if k == prediction else ORANGE, linewidth=2, zorder=3)
    fell = np.array([k for k in shown if given[k] < n], dtype=int)
    dots = [ORANGE if k == label else MUTED for k in fell]
    axes.scatter(given[fell], above[given[fell] - 1, fell], s=4 if many else 16, c=dots, zorder=4)
    # The first draws are noise alone and would set the scale: begin before the first class falls.
    start = max(1, min(int(given[shown].min()) // 2, n // 10))
    low, high = np.nanmin(above[start - 1 :]), np.nanmax(above[start - 1 :])
    room = 0.05 * (high - low or 1)
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(start, n + (n == start))
    if n > 100:
        log_axis(axes, "x")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_xlabel("draws")
    axes.set_ylabel("mean score above the prediction's")
    ends = {k: (int(given[k]), float(above[given[k] - 1, k])) for k in [*marked, *others[:4]]}
    _name_ends(axes, ends, classes, label, prediction)
    return figure


def _name_ends(
    axes: Axes,
    ends: dict[int, tuple[int, float]],
    classes: Sequence[str],
    label: int | None,
    prediction: int,
) -> None:
    """Write names at the right of the axes, as near to the ends of their lines as possible."""
    low, high = axes.get_ylim()
    order = sorted(ends, key=lambda k: ends[k][1])
    wanted = np.clip([(ends[k][1] - low) / (high - low) for k in order], 0.03, 0.97)
    places = apart(wanted, gap=0.075)
    for k, place in zip(order, places, strict=True):
        roles = ["true"] * (k == label) + ["predicted"] * (k == prediction)
        text = shortened(classes[k]) + (f" ({', '.join(roles)})" if roles else "")
        colour = BLUE if k == prediction else ORANGE if k == label else INK
        axes.annotate(
            text,
            xy=ends[k],
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            color=colour,
            fontsize=10,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "linestyle": ":",
                "relpos": (0, 0.5),
            },
        )


def apart(wanted: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Return ascending places in [0, 1], moved as little as needed for a gap between neighbours."""
    places = wanted.copy()
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    ceiling = 1.0
    for i in reversed(range(len(places))):
        places[i] = ceiling = min(places[i], ceiling)
        ceiling -= gap
    return places


def shortened(name: str) -> str:
    """Return a class name in one line that fits beside an axis."""
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return name if len(name) <= 24 else name[:23] + "…"


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make a log axis with plain numbers: matplotlib's own are formulas, which are switched off."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    ratio = high / low
    steps = (1, 2, 3, 4, 5, 6, 8) if ratio < 10 else (1, 2, 5) if ratio < 200 else (1,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(_PLAIN)
    axis.set_minor_formatter(NullFormatter())
