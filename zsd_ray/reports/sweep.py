"""What a sweep shows: tables as Markdown, and a page with them and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from zsd_ray.reports.figures import INK, MUTED, style
from zsd_ray.reports.page import inline, render
from zsd_ray.reports.robustness import (
    CORRUPTION_CAPTION,
    SHIFT_CAPTION,
    accuracy_by_strength,
    ood_against_id,
)
from zsd_ray.reports.series import series
from zsd_ray.reports.sweep_robustness import corrupted_rows, shifted_rows
from zsd_ray.reports.sweep_tables import markdown, tables
from zsd_ray.results.suite_table import SweepRecord
from zsd_ray.spec.suite import CellResult, SuiteConfig

_CAPTION = (
    "Accuracy with its 95% interval, a panel a data set; the dotted line is chance. The number "
    "beside a point is its evaluations an image."
)


@dataclass(frozen=True)
class Drawing:
    """A figure of the page; `drawing` is safe HTML."""

    title: str
    drawing: Any
    caption: str


def table_markdown(record: SweepRecord, suite: SuiteConfig) -> str:
    """The tables, as Markdown."""
    head = f"# {record.title}\n\n"
    return head + "\n".join(markdown(table) for table in tables(record.cells, suite))


def render_sweep(record: SweepRecord, suite: SuiteConfig) -> str:
    """The page."""
    n_open = len(record.cells) - record.n_whole
    return render(
        "sweep.html",
        title=record.title,
        facts=[
            ("status", record.status),
            ("cells", f"{record.n_whole} of {len(record.cells)} whole"),
            ("started", record.started),
            ("ended", record.ended or "-"),
        ],
        n_open=n_open,
        n_cells=len(record.cells),
        figures=_drawings(record.cells, suite),
        tables=tables(record.cells, suite),
        cells=[_cell_row(result, suite.output.path) for result in record.cells],
    )


def _cell_row(result: CellResult, root: str) -> dict[str, str]:
    root = root.rstrip("/") + "/"
    inside = result.path.removeprefix(root) if result.path.startswith(root) else None
    return {
        "name": result.cell.name,
        "images": f"{result.images:,}",
        "correct": f"{result.correct:,}",
        "seconds": "-" if result.seconds is None else f"{result.seconds:,.0f}",
        "link": f"{quote(inside)}/report.html" if inside and result.value is not None else "",
    }


def _drawings(results: Sequence[CellResult], suite: SuiteConfig) -> list[Drawing]:
    plain = [r for r in results if r.cell.corruption is None and r.cell.template is None]
    known = [result for result in plain if result.value is not None]
    drawings = []
    if known:
        drawings.append(("Accuracy", accuracies(known), _CAPTION))
    corrupted, shifted = corrupted_rows(results), shifted_rows(results, suite.robustness)
    if corrupted:
        figure = accuracy_by_strength(corrupted)
        drawings.append(("Corruptions", figure, CORRUPTION_CAPTION))
    if shifted:
        drawings.append(("Effective robustness", ood_against_id(shifted), SHIFT_CAPTION))
    return [
        Drawing(title, inline(figure, f"figure-{number}", caption), caption)
        for number, (title, figure, caption) in enumerate(drawings)
    ]


@style
def accuracies(results: Sequence[CellResult]) -> Figure:
    """A panel a data set (and task), a row a model and method; each with its interval and cost."""
    columns = list(dict.fromkeys(result.cell.column for result in results))
    rows = list(dict.fromkeys((result.cell.model, result.cell.method) for result in results))
    n_across = min(4, len(columns))
    n_down = -(-len(columns) // n_across)
    height = n_down * (0.9 + 0.42 * len(rows))
    figure = Figure(figsize=(2.6 * n_across + 2.2, max(2.0, height)))
    panels = np.atleast_1d(figure.subplots(n_down, n_across, sharex=True, sharey=True)).ravel()
    models = list(dict.fromkeys(model for model, _ in rows))
    for axes, column in zip(panels, columns, strict=False):
        axes.set_title(column, fontsize=10.5, loc="left", color=INK)
        for result in results:
            if result.cell.column != column:
                continue
            assert result.value is not None
            assert result.low is not None
            assert result.high is not None
            place = rows.index((result.cell.model, result.cell.method))
            colour, marker = series(models.index(result.cell.model))
            error = [[result.value - result.low], [result.high - result.value]]
            axes.errorbar(result.value, place, xerr=error, fmt=marker, color=colour, capsize=3)
            if result.evaluations_per_image:
                axes.annotate(
                    f"{result.evaluations_per_image:,.0f}",
                    (result.value, place),
                    xytext=(0, 6),
                    textcoords="offset points",
                    ha="center" if 0.15 < result.value < 0.85 else _side(result.value),
                    fontsize=8,
                    color=MUTED,
                )
        chances = {r.chance for r in results if r.cell.column == column and r.chance is not None}
        for chance in chances:
            axes.axvline(chance, color=MUTED, linestyle=":", linewidth=1)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.tick_params(labelbottom=True)
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    panels[0].set_yticks(range(len(rows)), [f"{model}, {method}" for model, method in rows])
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.supxlabel("accuracy", color=INK, fontsize=10.5)
    return figure


def _side(value: float) -> str:
    return "left" if value < 0.5 else "right"
