"""The output of a sweep: tables as Markdown, and a page with them and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from zsd_ray.reports.page import inline, render
from zsd_ray.studies.sweeps import sweep_figures
from zsd_ray.studies.sweeps.robustness_panels import (
    CORRUPTION_CAPTION,
    SHIFT_CAPTION,
    accuracy_by_strength,
    ood_against_id,
)
from zsd_ray.studies.sweeps.suite_config import CellResult, SuiteConfig
from zsd_ray.studies.sweeps.sweep_record import SweepRecord
from zsd_ray.studies.sweeps.sweep_robustness import corrupted_rows, shifted_rows
from zsd_ray.studies.sweeps.sweep_tables import markdown, tables, tasked

_CAPTION = (
    "Accuracy with its 95% interval, one panel per data set; the dotted line is chance. The number "
    "beside a point is its evaluations per image."
)
_TASKS_CAPTION = (
    "Accuracy at each task with its 95% interval; the dotted line is chance. Tasks ask "
    "for one attribute, for which value goes with which, or for both objects together."
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
    """Render the page."""
    n_open = len(record.cells) - record.n_whole
    return render(
        "studies/sweeps/sweep.html",
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
    several = tasked(known)
    single = [result for result in known if result.cell.dataset not in several]
    if single:
        drawings.append(("Accuracy", sweep_figures.accuracies(single), _CAPTION))
    for name in several:
        own = [result for result in known if result.cell.dataset == name]
        drawings.append((f"Tasks of {name}", sweep_figures.tasks(own), _TASKS_CAPTION))
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
