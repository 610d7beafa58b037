"""Names and values in two columns, as plain text that no terminal's width breaks."""

from __future__ import annotations

import math

Rows = list[tuple[str, str]]


def aligned(rows: Rows) -> str:
    """One line a row."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in rows)


def amount(value: float) -> str:
    """Three digits, or all of those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def share(value: float) -> str:
    """In percent, and 100% only for all: rounded down."""
    return f"{math.floor(value * 100)}%"
