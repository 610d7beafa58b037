"""The closing table of a run, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsd_ray.reports.progress_bar import duration
from zsd_ray.reports.screens import screen_rows
from zsd_ray.results.run_file import RunFile


def summary_table(run: RunFile) -> Table:
    """What the run found and what it cost."""
    totals = run.totals
    table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()

    def row(name: str, value: str) -> None:
        table.add_row(Text(name), Text(value))

    row("images", f"{run.n_done:,} of {run.n_images:,}")
    if totals.get("errors"):
        row("errors", f"{totals['errors']:,} (see the error column of the decisions)")
    if totals.get("accuracy") is not None:
        row(
            "accuracy",
            f"{totals['accuracy']:.1%}  95% interval "
            f"[{totals['accuracy_low']:.1%}, {totals['accuracy_high']:.1%}]",
        )
    if totals.get("evaluations_per_image") is not None:
        row("evaluations an image", f"{totals['evaluations_per_image']:,.1f}")
    for name, value in screen_rows(totals):
        row(name, value)
    used, spent = totals["n_evaluations"], totals["n_spent"]
    row("evaluations", f"{used:,} used by the rule, {spent:,} spent")
    if totals.get("pilot_evaluations"):
        row("pilot", f"{totals['pilot_evaluations']:,} evaluations more, for weights or times")
    row(
        "speed",
        f"{totals['evaluations_per_second']:,.0f} evaluations/s, "
        f"{totals['padding_fraction']:.1%} padding",
    )
    row("time", _time(totals))
    return table


def _time(totals: Mapping[str, Any]) -> str:
    """All of it from the command's start, and what was not deciding."""
    parts = [f"{duration(totals['seconds'])} in all"]
    if totals.get("startup_seconds"):
        parts.append(f"{duration(totals['startup_seconds'])} of it start-up")
    if totals.get("stage_seconds"):
        parts.append(f"{duration(totals['stage_seconds'])} pilot and screen")
    return ", ".join(parts)
