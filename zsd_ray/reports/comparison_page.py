"""The output of `zsd-ray compare`: two tables, and a page with them and a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zsd_ray.analysis.comparison import ComparedPair, ComparedRun, Comparison, Figures
from zsd_ray.reports.figures import BLUE, INK, apart, log_axis, style
from zsd_ray.reports.lines import columns, percent, rule_text, with_interval
from zsd_ray.reports.page import inline, render

_RUN = ("", "run", "images", "accuracy", "evaluations per image", "seconds", "settings")
_PAIR = (
    "pair",
    "images",
    "difference of accuracy",
    "p (McNemar)",
    "right alone",
    "same prediction",
    "evaluations",
)
_CAPTION = (
    "Accuracy, with its Wilson 95% interval, against the mean number of evaluations of an image: "
    "left and above is better. The intervals are those of each run alone; runs of the same images "
    "differ by less than they seem to, and the table of pairs says by how much."
)

_FEW = 10  # images that tell two runs apart; with 3 an interval of 95% held 84 of 100 times


def comparison_lines(found: Comparison) -> str:
    """Return both tables, and caveats."""
    lines = [columns([_RUN, *run_rows(found)]), "", columns([_PAIR, *pair_rows(found)])]
    return "\n".join([*lines, *([""] if notes(found) else []), *notes(found)])


def render_comparison(found: Comparison) -> str:
    """Render the page."""
    drawn = [run for run in found.runs if run.figures.accuracy is not None]
    return render(
        "reports/comparison.html",
        title=f"{len(found.runs)} runs compared",
        figure=inline(accuracy_against_cost(drawn), "accuracy", _CAPTION) if drawn else None,
        caption=_CAPTION,
        run_header=_RUN,
        runs=run_rows(found),
        pair_header=_PAIR,
        pairs=pair_rows(found),
        notes=notes(found),
    )


def run_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return one row per run, numbered from 1."""
    return [(str(place), *_run_cells(run)) for place, run in enumerate(found.runs, 1)]


def pair_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return one row per pair: the second less the first."""
    return [(f"{pair.second + 1} - {pair.first + 1}", *_pair_cells(pair)) for pair in found.pairs]


def notes(found: Comparison) -> list[str]:
    """Return the caveats, one sentence each."""
    said = []
    partial = [str(i) for i, run in enumerate(found.runs, 1) if run.figures.images < run.n_images]
    if partial:
        said.append(
            f"not of all their images: {', '.join(partial)}; a pair is compared on the images that "
            "both decided"
        )
    for place, run in enumerate(found.runs, 1):
        if run.pilot_evaluations:
            n = f"{run.pilot_evaluations:,}"
            said.append(f"{place} took {n} evaluations more, for the pilot of its weights or times")
    if any(pair.labelled and pair.only_first + pair.only_second < _FEW for pair in found.pairs):
        said.append(
            f"where less than {_FEW} images are right alone, the interval of the difference may be "
            "too narrow; go by p"
        )
    if len(found.pairs) > 1:
        said.append(f"each p is of a pair by itself, not corrected for {len(found.pairs)} pairs")
    return said


@style
def accuracy_against_cost(runs: Sequence[ComparedRun]) -> Figure:
    """Plot accuracy with its interval against evaluations per image, log x; names at the right.

    runs: each with an accuracy.
    """
    figure = Figure(figsize=(9, 4.2))
    axes = figure.subplots()
    cost = np.array([_known(run.figures)[0] for run in runs])
    share, low, high = np.array([_known(run.figures)[1:] for run in runs]).T
    axes.errorbar(
        cost, share, yerr=[share - low, high - share], fmt="o", color=BLUE, markersize=6,
        elinewidth=1.4, capsize=3,
    )  # fmt: skip
    bottom, top = float(low.min()), float(high.max())
    room = 0.06 * (top - bottom)
    axes.set_ylim(bottom - room, top + room)
    axes.set_xlim(cost.min() / 1.25, cost.max() * 1.25)
    log_axis(axes, "x")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if top - bottom > 0.05 else 1))
    axes.set_xlabel("evaluations per image")
    axes.set_ylabel("accuracy")
    order = np.lexsort((cost, share))
    wanted = np.clip((share[order] - bottom + room) / (top - bottom + 2 * room), 0.03, 0.97)
    places = apart(wanted, gap=min(0.08, 0.95 / len(runs)))
    for i, place in zip(order.tolist(), places.tolist(), strict=True):
        axes.annotate(
            runs[i].label,
            xy=(cost[i], share[i]),
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": BLUE,
                "linewidth": 0.7,
                "linestyle": ":",
                "relpos": (0, 0.5),
            },
        )
    return figure


def _known(figures: Figures) -> tuple[float, float, float, float]:
    """Return evaluations per image, accuracy, low and high of a run that has an accuracy."""
    values = (
        figures.evaluations_per_image,
        figures.accuracy,
        figures.accuracy_low,
        figures.accuracy_high,
    )
    assert None not in values
    return values  # type: ignore[return-value]


def _run_cells(run: ComparedRun) -> tuple[str, ...]:
    figures = run.figures
    cost = figures.evaluations_per_image
    return (
        run.label,
        f"{figures.images:,}",
        with_interval(figures.accuracy, figures.accuracy_low, figures.accuracy_high),
        "-" if cost is None else f"{cost:,.1f}",
        "-" if run.seconds is None else f"{run.seconds:,.0f}",
        ", ".join([run.model, *([run.weighting] if run.weighting else []), rule_text(run.pruning)]),
    )


def _pair_cells(pair: ComparedPair) -> tuple[str, ...]:
    difference = "-"
    if pair.difference is not None:
        interval = f"[{pair.difference_low:+.1%}, {pair.difference_high:+.1%}]"
        difference = f"{pair.difference:+.1%} {interval}"
    return (
        f"{pair.images:,}",
        difference,
        "-" if pair.p_value is None else f"{pair.p_value:.2g}",
        f"{pair.only_second:,} and {pair.only_first:,}",
        percent(pair.agreement),
        "-" if pair.evaluations_ratio is None else f"x {pair.evaluations_ratio:.3g}",
    )
