"""Buffers decided rows: assigns them to parts, and keeps those that are not written yet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zsd_ray.records.scores import Decision
from zsd_ray.results.output import part_name

# A cell is a number of a row: a class's mean, gap or gap's error, or its error in a raw draw; some
# 60 bytes.
_PART_ROWS, _PART_CELLS = 5_000, 1_250_000
_FULL_ROWS, _FULL_CELLS = 20_000, 5_000_000


@dataclass(frozen=True)
class Part:
    """Rows that are written together, under one name."""

    name: str
    decisions: Sequence[Decision]


class RowBuffer:
    """Cuts rows into parts and keeps each until it is written.

    A part is due `flush_seconds` after its first row came, or when it is large. It keeps its name:
    writing it again replaces the remains of a failed attempt.
    """

    def __init__(self, flush_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._parts: deque[Part] = deque()
        self._rows: list[Decision] = []  # of the part that still grows
        self._since = 0.0
        self._n_rows = self._n_cells = self._n_open_cells = 0

    @property
    def n_rows(self) -> int:
        """The number of rows that are not known to be written."""
        return self._n_rows

    @property
    def is_full(self) -> bool:
        """Whether so many rows are unwritten that no more should be scored."""
        return self._n_rows >= _FULL_ROWS or self._n_cells >= _FULL_CELLS

    def add(self, decisions: Sequence[Decision]) -> None:
        """Take rows."""
        if decisions and not self._rows:
            self._since = self._clock()
        self._rows += decisions
        self._n_rows += len(decisions)
        n_cells = _n_cells(decisions)
        self._n_cells += n_cells
        self._n_open_cells += n_cells

    def due(self, everything: bool = False) -> Part | None:
        """Return the oldest part that is due, repeatedly until `written` is called with it.

        Args:
            everything: the part that still grows is due, too.
        """
        if self._rows and (everything or self._is_time()):
            self._parts.append(Part(part_name(), self._rows))
            self._rows, self._n_open_cells = [], 0
        return self._parts[0] if self._parts else None

    def written(self, part: Part) -> None:
        """Forget a part that is safely written."""
        self._parts.remove(part)
        self._n_rows -= len(part.decisions)
        self._n_cells -= _n_cells(part.decisions)

    def _is_time(self) -> bool:
        return (
            len(self._rows) >= _PART_ROWS
            or self._n_open_cells >= _PART_CELLS
            or self._clock() - self._since >= self._flush_seconds
        )


def _n_cells(decisions: Sequence[Decision]) -> int:
    return sum(
        3 * len(decision.mean_scores) + sum(len(raw.classes) for raw in decision.raw)
        for decision in decisions
    )
