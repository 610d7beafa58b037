"""The output of `zsd-ray shape-bias`: two tables, and a page with them and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from zsd_ray.reports.figures import INK, MUTED, style
from zsd_ray.reports.lines import columns, with_interval
from zsd_ray.reports.page import inline, render
from zsd_ray.reports.series import series
from zsd_ray.stats.reliability import Measured
from zsd_ray.studies.cue_conflict.shape_bias_counts import CueDecisions, Observer

_HEADER = ("", "conflicts", "shape accuracy", "texture accuracy", "shape bias")
_CAPTION = (
    "Of the decisions for the shape or for the texture of an image whose two cues contradict each "
    "other, the share for the shape, by the class of the shape, with Wilson 95% intervals; lines "
    "are all classes together. Right: how many of all conflicts were decided for either cue. In "
    "the style of Geirhos et al. 2019, figure 4."
)
_SPREAD = 0.62  # of a class's row is for the markers of its observers


def shape_bias_lines(observers: Sequence[Observer], n_errors: int, n_open: int) -> str:
    """Return both tables, and caveats."""
    parts = [columns([_HEADER, *overall_rows(observers)]), columns(class_table(observers))]
    return "\n\n".join([*parts, "\n".join(notes(observers, n_errors, n_open))]).rstrip()


def render_shape_bias(run: str, observers: Sequence[Observer], n_errors: int, n_open: int) -> str:
    """Render the page."""
    drawn = [each for each in observers if each.bias.overall.shape_bias is not None]
    header, *rows = class_table(observers)
    return render(
        "studies/cue_conflict/shape_bias.html",
        title=f"Shape bias of {run}",
        figure=inline(bias_by_class(drawn), "shape-bias", _CAPTION) if drawn else None,
        caption=_CAPTION,
        header=_HEADER,
        rows=overall_rows(observers),
        class_header=header,
        class_rows=rows,
        notes=notes(observers, n_errors, n_open),
    )


def overall_rows(observers: Sequence[Observer]) -> list[tuple[str, ...]]:
    """Return one row per observer, for all conflicts together."""
    rows = []
    for each in observers:
        found = each.bias.overall
        shares = (found.shape_accuracy, found.texture_accuracy, found.shape_bias)
        rows.append((each.name, f"{found.n:,}", *map(_share, shares)))
    return rows


def class_table(observers: Sequence[Observer]) -> list[tuple[str, ...]]:
    """Return a header, and the shape bias of each class: one column per observer, as in the
    figure."""
    return [
        ("shape bias", *(each.name for each in observers)),
        *((name, *(_class_bias(each, name) for each in observers)) for name in classes(observers)),
    ]


def classes(observers: Sequence[Observer]) -> list[str]:
    """Return the classes of all observers, by descending bias of the people, or of the first."""
    guide = next((each for each in observers if each.n_people), observers[0]).bias.of_class
    names = {name for each in observers for name in each.bias.of_class}
    return sorted(names, key=lambda name: (-_value(guide, name), name))


def notes(observers: Sequence[Observer], n_errors: int, n_open: int) -> list[str]:
    """Return the caveats, one sentence each."""
    said = []
    for each in observers:
        if each.n_people and each.n_people > 1:
            spread = ""
            if each.each_person:
                least, most = each.each_person[0], each.each_person[-1]
                spread = f", whose own biases are between {least:.1%} and {most:.1%}"
            said.append(
                f"{each.name} are {each.n_people}{spread}; the intervals take all their answers "
                "for independent, though they saw the same images"
            )
    if n_errors:
        said.append(f"{n_errors:,} images of the run could not be classified and are left out")
    if n_open:
        said.append(f"{n_open:,} images of the run are not decided yet")
    return said


@style
def bias_by_class(observers: Sequence[Observer]) -> Figure:
    """Plot the shape bias of each class, one marker per observer; each has an overall bias."""
    names = classes(observers)
    n = len(observers)
    figure = Figure(figsize=(9, 1.5 + max(0.3, 0.13 * n) * len(names)))
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=[5, 1])
    rows = np.arange(len(names), dtype=float)
    shifts = (np.arange(n) - (n - 1) / 2) * (_SPREAD / n)
    for number, (each, shift) in enumerate(zip(observers, shifts, strict=True)):
        colour, marker = series(number)
        overall = each.bias.overall.shape_bias
        assert overall is not None
        axes.axvline(overall.value, color=colour, linewidth=1.3, linestyle=(0, (5, 3)), zorder=1)
        found = [each.bias.of_class.get(name) for name in names]
        value, low, high = np.array([_triple(of_class) for of_class in found]).T
        axes.errorbar(
            value, rows + shift, xerr=[value - low, high - value], fmt=marker, color=colour,
            markersize=5, elinewidth=1.2, label=f"{each.name} {overall.value:.1%}",
        )  # fmt: skip
        decided = [(one.shape + one.texture) / one.n if one else np.nan for one in found]
        beside.barh(rows + shift, decided, height=_SPREAD / n * 0.85, color=colour, linewidth=0)
    axes.set_yticks(rows, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.05)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("shape bias  (0%: texture alone, 100%: shape alone)")
    beside.set_xlim(0, 1)
    beside.set_xticks([0, 0.5, 1])
    beside.xaxis.set_major_formatter("{x:.0%}")
    beside.set_xlabel("decided for a cue")
    for each_axes in (axes, beside):
        each_axes.grid(axis="y", visible=False)
        each_axes.tick_params(axis="y", length=0)
    for edge in rows[:-1] + 0.5:
        axes.axhline(edge, color=MUTED, linewidth=0.3, zorder=0)
    axes.tick_params(axis="y", labelcolor=INK)
    figure.legend(loc="outside upper left", ncols=min(n, 4))
    return figure


def _triple(found: CueDecisions | None) -> tuple[float, float, float]:
    """Bias, low, high; nan, which is drawn nowhere, where there is none."""
    if found is None or found.shape_bias is None:
        return (np.nan, np.nan, np.nan)
    return found.shape_bias.value, found.shape_bias.low, found.shape_bias.high


def _value(of_class: Mapping[str, CueDecisions], name: str) -> float:
    found = of_class.get(name)
    return found.shape_bias.value if found and found.shape_bias else -1.0


def _class_bias(observer: Observer, name: str) -> str:
    found = observer.bias.of_class.get(name)
    return _share(found.shape_bias if found else None)


def _share(found: Measured | None) -> str:
    return "-" if found is None else with_interval(found.value, found.low, found.high)
