"""Lines about a screen and its audit, from the totals of run.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zsd_ray.reports.lines import Rows


def screen_rows(totals: Mapping[str, Any]) -> Rows:
    """Return a name and a value for each line; none for a run without a screen."""
    rows = []
    if "screened" in totals:
        rows.append(("screen", _screen(totals)))
        unknown = "of no image, so that what the screen lost is not known"
        told = f"{_loss(totals)}; {_accuracies(totals)}" if totals.get("audited") else unknown
        rows.append(("audit", told))
    return rows


def audit_tile(totals: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return name, value and notes of the report's tile; None without an audit."""
    if not totals.get("audited"):
        return None
    low, high = totals["screen_loss_low"], totals["screen_loss_high"]
    return (
        "lost by the screen",
        f"{totals['screen_loss']:.1%}",
        f"95% interval {100 * low:.1f} to {100 * high:.1f}%",
        f"{totals['screen_lost']:,} of {totals['audited']:,} audited images",
        _accuracies(totals),
    )


def _screen(totals: Mapping[str, Any]) -> str:
    text = f"{totals['candidates_per_image']:,.1f} classes per image kept"
    other = totals.get("other_model_evaluations_per_image")
    if other is not None:
        return f"{text}, after {other:,.1f} evaluations of another model, not counted above"
    before = totals["n_screen_evaluations"] / totals["screened"]
    return f"{text}, after {before:,.1f} evaluations, counted above"


def _loss(totals: Mapping[str, Any]) -> str:
    low, high = totals["screen_loss_low"], totals["screen_loss_high"]
    return (
        f"{totals['screen_lost']:,} of {totals['audited']:,} images lost by the screen, "
        f"{totals['screen_loss']:.1%}  95% interval [{low:.1%}, {high:.1%}]"
    )


def _accuracies(totals: Mapping[str, Any]) -> str:
    if not totals["audit_labelled"]:
        return "without labels"
    with_it, without = totals["audit_accuracy_screened"], totals["audit_accuracy_full"]
    return f"accuracy {with_it:.1%} with it, {without:.1%} without"
