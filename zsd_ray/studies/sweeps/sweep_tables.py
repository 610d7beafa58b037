"""The tables of a sweep, as text cells: what the Markdown file and the page show alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zsd_ray.reports.lines import amount
from zsd_ray.studies.sweeps.robustness_panels import (
    CORRUPTION_NOTE,
    SHIFT_NOTE,
    corruption_table,
    shift_table,
)
from zsd_ray.studies.sweeps.suite_config import Cell, CellResult, SuiteConfig
from zsd_ray.studies.sweeps.sweep_robustness import corrupted_rows, shifted_rows

_SURE = 0.01
"""Below this p an answer is no guess: the papers' own level (Clark & Jaini 2023, table 3)."""

CELL_NOTE = (
    "Accuracy in percent with its 95% interval, and evaluations per image. A star marks the mean "
    "over classes of each class's accuracy."
)
_TASK_NOTE = (
    f"†: not guessed (p < {_SURE}, two-sided binomial test against chance, which stands "
    "in brackets behind the task)."
)
_STUDY_NOTE = (
    "Each template by itself, and the mean error under all of them. Spread: the best less the "
    "worst by itself; sd: their standard deviation, in points."
)


@dataclass(frozen=True)
class Table:
    """A header, rows of as many cells, and what must be known to read them."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def tables(results: Sequence[CellResult], suite: SuiteConfig) -> list[Table]:
    """All that the cells make up; empty ones are left out."""
    corrupted, shifted = corrupted_rows(results), shifted_rows(results, suite.robustness)
    found = [
        main_table(results),
        *_task_tables(results),
        _study_table(results),
        _of("Corruptions", corruption_table(corrupted), CORRUPTION_NOTE),
        _of("Effective robustness", shift_table(shifted), SHIFT_NOTE),
        _open(results),
    ]
    return [table for table in found if table.rows]


def _of(title: str, lines: Sequence[tuple[str, ...]], note: str) -> Table:
    header, *rows = lines
    return Table(title, header, tuple(rows), note)


def main_table(results: Sequence[CellResult]) -> Table:
    """Return one row per model and method, one column per data set: pictures as they are, all
    templates."""
    several = tasked(results)
    shown = [
        result
        for result in results
        if result.cell.corruption is None
        and result.cell.template is None
        and result.cell.dataset not in several
    ]
    header, rows = _grid(shown, _row_of, lambda cell: cell.dataset)
    return Table("Accuracy and cost", ("model", "method", *header), rows, CELL_NOTE)


def figures_of(result: CellResult) -> str:
    """97.6 [95.8, 98.6] · 235; a dash where there is nothing."""
    if result.value is None or result.low is None or result.high is None:
        return "-" if result.status != "refused" else "refused"
    star = "*" if result.metric == "mean-per-class" else ""
    low, high = 100 * result.low, 100 * result.high
    cost = result.evaluations_per_image
    taken = f" · {_count(cost)}" if cost else ""
    partial = "" if result.status == "finished" else " (not whole)"
    return f"{100 * result.value:.1f}{star} [{low:.1f}, {high:.1f}]{taken}{partial}"


def _count(mean: float) -> str:
    return f"{mean:,.0f}" if mean.is_integer() else amount(mean)


def _name_of(cell: Cell) -> str:
    return f"{cell.model}, {cell.method}"


def _row_of(cell: Cell) -> tuple[str, ...]:
    return (cell.model, cell.method)


def _grid(
    results: Sequence[CellResult],
    row_of: Callable[[Cell], tuple[str, ...]],
    column_of: Callable[[Cell], str],
    text: Callable[[CellResult], str] = figures_of,
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Rows and columns in the order in which they first come."""
    columns = _distinct(column_of(result.cell) for result in results)
    places = {(row_of(result.cell), column_of(result.cell)): text(result) for result in results}
    rows = tuple(
        (*row, *(places.get((row, column), "") for column in columns))
        for row in _distinct(row_of(result.cell) for result in results)
    )
    return tuple(columns), rows


def _task_tables(results: Sequence[CellResult]) -> list[Table]:
    """Return a table per data set of several tasks: one row per task, one column per model and
    method."""
    found = []
    for name in tasked(results):
        own = [r for r in results if r.cell.dataset == name and r.cell.template is None]
        own = [result for result in own if result.cell.corruption is None]
        chance = {r.cell.task: r.chance for r in own if r.chance is not None}

        def task_of(cell: Cell, chance: dict[str | None, float] = chance) -> tuple[str, ...]:
            share = f" ({chance[cell.task]:.0%})" if cell.task in chance else ""
            return (f"{cell.task}{share}",)

        header, rows = _grid(own, task_of, _name_of, _tested)
        found.append(
            Table(f"Tasks of {name}", ("task", *header), rows, f"{CELL_NOTE} {_TASK_NOTE}")
        )
    return found


def _tested(result: CellResult) -> str:
    text = figures_of(result)
    sure = result.p_chance is not None and result.p_chance < _SURE
    return f"{text} †" if sure else text


def tasked(results: Sequence[CellResult]) -> list[str]:
    """The data sets of several tasks."""
    tasks: dict[str, set[str | None]] = {}
    for result in results:
        tasks.setdefault(result.cell.dataset, set()).add(result.cell.task)
    return [name for name, found in tasks.items() if len(found) > 1]


def _study_table(results: Sequence[CellResult]) -> Table:
    """Templates as columns, their ensemble, and how far they lie apart."""
    studied = [r for r in results if r.cell.template is not None or r.cell.together]

    def row_of(cell: Cell) -> tuple[str, ...]:
        return (cell.model, cell.method, cell.column)

    def column_of(cell: Cell) -> str:
        return cell.template or "all together"

    header, rows = _grid(studied, row_of, column_of)
    alone: dict[tuple[str, ...], list[float]] = {}
    for result in studied:
        if result.cell.template is not None and result.value is not None:
            alone.setdefault(row_of(result.cell), []).append(100 * result.value)
    spread = tuple(
        (*row, f"{np.ptp(values):.1f} (sd {np.std(values, ddof=1):.1f})")
        if len(values := alone.get(row[:3], [])) > 1
        else (*row, "-")
        for row in rows
    )
    head = ("model", "method", "data set", *header, "spread")
    return Table("Templates", head, spread, f"{CELL_NOTE} {_STUDY_NOTE}")


def _open(results: Sequence[CellResult]) -> Table:
    """The cells that are not whole, and why."""
    rows = tuple(
        (result.cell.name, result.status, result.reason or "")
        for result in results
        if result.status != "finished"
    )
    note = "The same command resumes them."
    return Table("Not whole", ("cell", "status", "why"), rows, note)


def markdown(table: Table) -> str:
    """Return a Markdown table; every column as wide as its widest cell."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(table.header))]
    lines = [_line(row, widths) for row in cells]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([f"### {table.title}", "", lines[0], rule, *lines[1:], "", table.note, ""])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)) + " |"


def _distinct(values: Iterable[tuple[str, ...]] | Iterable[str]) -> list:  # type: ignore[type-arg]
    return list(dict.fromkeys(values))
