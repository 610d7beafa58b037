"""Names and values in columns of plain text, not wrapped to the width of a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zsd_ray.config.run import departures_of

Rows = list[tuple[str, str]]


def aligned(rows: Rows) -> str:
    """One line a row."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in rows)


def amount(value: float) -> str:
    """Format three digits, or all of those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def share(value: float) -> str:
    """Format in percent, rounded down: 100% only for all."""
    return f"{math.floor(value * 100)}%"


def columns(table: Sequence[Sequence[str]]) -> str:
    """One line a row; every column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def percent(value: float) -> str:
    """Format in percent to a tenth."""
    return f"{value:.1%}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Format a share with its interval; a dash if there is none."""
    if value is None or low is None or high is None:
        return "-"
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


def rule_text(pruning: Mapping[str, Any]) -> str:
    """Format a pruning section: the rule, and those of its keys that are set."""
    keys = ", ".join(f"{k} {v}" for k, v in pruning.items() if k != "rule" and v is not None)
    return f"{pruning['rule']} ({keys})" if keys else str(pruning["rule"])


def preset_row(config: Mapping[str, Any]) -> Rows:
    """Return the row of a configuration's preset and the keys that differ from it; none: a
    baseline."""
    method = config.get("method", {})
    if method.get("name") != "diffusion-classifier" or "preset" not in config:
        return []
    name, beside = config["preset"], departures_of(config)
    return [("preset", f"{name}, but with {', '.join(beside)}" if beside else name)]
