"""The closing table of a run, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsd_ray.reports.lines import Rows, preset_row
from zsd_ray.reports.progress_bar import duration
from zsd_ray.reports.screens import screen_rows
from zsd_ray.results.run_file import RunFile


def summary_table(run: RunFile) -> Table:
    """Return the run's results and cost."""
    totals = run.totals
    table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()

    def row(name: str, value: str) -> None:
        table.add_row(Text(name), Text(value))

    for name, value in preset_row(run.config):
        row(name, value)
    row("images", f"{run.n_done:,} of {run.n_images:,}")
    if totals.get("errors"):
        row("errors", f"{totals['errors']:,} (see the error column of the decisions)")
    for name, value in accuracy_rows(totals, run.classes):
        row(name, value)
    if totals.get("evaluations_per_image") is not None:
        row("evaluations per image", f"{totals['evaluations_per_image']:,.1f}")
    for name, value in screen_rows(totals):
        row(name, value)
    used, spent = totals["n_evaluations"], totals["n_spent"]
    row("evaluations", f"{used:,} used by the rule, {spent:,} spent")
    if totals.get("offset_evaluations"):
        row("class offset", f"{totals['offset_evaluations']:,} evaluations more, to measure it")
    row(
        "speed",
        f"{totals['evaluations_per_second']:,.0f} evaluations/s, "
        f"{totals['padding_fraction']:.1%} padding",
    )
    row("time", _time(totals))
    return table


def accuracy_rows(totals: Mapping[str, Any], classes: Sequence[str]) -> Rows:
    """Return every accuracy in the totals of a run, with its interval."""
    names = {
        "accuracy": "accuracy",
        "uncorrected_accuracy": "without class offset",
        "top5_accuracy": "top-5 accuracy",
        "class_accuracy": "mean per class",
        "worst_class_accuracy": "worst class",
        "worst_group_accuracy": "worst group",
    }
    rows = []
    for key, name in names.items():
        if totals.get(key) is None:
            continue
        low, high = totals[f"{key}_low"], totals[f"{key}_high"]
        which = ""
        if key == "worst_class_accuracy":
            which = f", {classes[totals['worst_class']]}"
        elif key == "worst_group_accuracy":
            which = f", {totals['worst_group']} of {totals['groups']:,}"
        rows.append((name, f"{totals[key]:.1%}  95% interval [{low:.1%}, {high:.1%}]{which}"))
    return rows


def _time(totals: Mapping[str, Any]) -> str:
    """Return the time since the command's start, and the part that was not spent on deciding."""
    parts = [f"{duration(totals['seconds'])} in all"]
    if totals.get("startup_seconds"):
        parts.append(f"{duration(totals['startup_seconds'])} of it start-up")
    if totals.get("stage_seconds"):
        parts.append(f"{duration(totals['stage_seconds'])} screen and audit")
    return ", ".join(parts)
