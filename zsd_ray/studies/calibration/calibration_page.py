"""The results of a calibration: a table for the terminal, and a page with reliability diagrams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zsd_ray.reports.figures import BLUE, MUTED, style
from zsd_ray.reports.lines import aligned, columns
from zsd_ray.reports.page import inline, render
from zsd_ray.stats.reliability import Bin, Measured
from zsd_ray.studies.calibration.calibration_file import Calibration, MethodCalibration

_WHAT = {
    "posterior": "From the paired gaps between classes, with their errors: right under elimination",
    "temperature": "softmax(-mean score / T): means over different draws where classes fell",
    "platt": "From the number of evaluations alone: of the prediction only",
}
_NAMES = (
    "mean confidence",
    "ECE",
    "ECE by chance",
    "ECE, equal mass",
    "Brier, right or wrong",
    "NLL, right or wrong",
    "Brier, all classes",
    "NLL, all classes",
)


def calibration_lines(found: Calibration, methods: Sequence[str]) -> str:
    """Return the numbers of images, and a table of the methods."""
    rows = [
        ("run", found.run),
        ("fitted on", f"{found.n_fit:,} labelled images"),
        ("tested on", f"{found.n_test:,} others, accuracy {_share(found.accuracy)}"),
        *((name, _fitted(found.methods[name])) for name in methods),
    ]
    return f"{aligned(rows)}\n\n{columns(_table(found, methods))}"


def render_calibration(found: Calibration) -> str:
    """Render the page."""
    cards = []
    for name, method in found.methods.items():
        caption = (
            f"{_WHAT[name]}. Predictions by their confidence: the share that is right, with its "
            "Wilson 95% interval, against the mean confidence of the bin; below, the images of "
            "each bin."
        )
        cards.append(
            {
                "title": name.capitalize(),
                "svg": inline(reliability(method.bins), f"reliability-{name}", caption),
                "caption": caption,
                "fitted": _fitted(method),
            }
        )
    header, *rows = _table(found, list(found.methods))
    return render(
        "studies/calibration/calibration.html",
        title=f"Calibration of {found.run}",
        found=found,
        accuracy=_share(found.accuracy),
        header=header,
        rows=rows,
        cards=cards,
    )


@style
def reliability(bins: Sequence[Bin]) -> Figure:
    """Accuracy against confidence (Guo et al. 2017, figure 1), and how many images each bin has."""
    figure = Figure(figsize=(6.2, 5.6))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    confidence = np.array([each.confidence for each in bins])
    accuracy = np.array([each.accuracy for each in bins])
    bounds = np.array([(each.accuracy_low, each.accuracy_high) for each in bins])
    reach = np.abs(bounds.reshape(-1, 2).T - accuracy)
    axes.errorbar(
        confidence, accuracy, yerr=reach, fmt="o", color=BLUE, markersize=5, elinewidth=1.6
    )
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.03, 1.03)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylabel("predictions that are right")
    counts = [each.n for each in bins]
    below.vlines(confidence, 0, counts, color=BLUE, linewidth=6)
    below.set_ylim(0, max(counts) * 1.25)
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    below.xaxis.set_major_formatter("{x:.0%}")
    below.grid(axis="x", visible=False)
    below.set_ylabel("images")
    below.set_xlabel("confidence of the prediction")
    return figure


def _table(found: Calibration, methods: Sequence[str]) -> list[tuple[str, ...]]:
    """Return a header and one row per figure: one column per method, intervals in brackets."""
    cells = [_cells(found.methods[name]) for name in methods]
    return [("", *methods), *zip(_NAMES, *cells, strict=True)]


def _fitted(method: MethodCalibration) -> str:
    values = (f"{name} {value:.3g}" for name, value in method.parameters.items())
    return ", ".join(values).replace("_", " ")


def _cells(method: MethodCalibration) -> tuple[str, ...]:
    return (
        f"{method.confidence:.1%}",
        _share(method.ece),
        f"{method.ece_by_chance:.1%}",
        _share(method.ece_equal_mass),
        _number(method.brier_right),
        _number(method.nll_right),
        _number(method.brier),
        _number(method.nll),
    )


def _share(figure: Measured) -> str:
    return f"{figure.value:.1%} [{figure.low:.1%}, {figure.high:.1%}]"


def _number(figure: Measured | None) -> str:
    if figure is None:
        return "-"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
