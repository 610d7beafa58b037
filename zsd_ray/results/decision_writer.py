"""Buffers decisions and writes them as Parquet parts, often enough to lose little."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from zsd_ray.results.output import Output, part_name
from zsd_ray.spec.records import Decision

MAX_ROWS = 5000
MAX_RAW_DRAWS = 200_000


class DecisionWriter:
    """Writes a part `flush_seconds` after its first row came, or when the buffer is large.

    A part that could not be written keeps its rows and its name: the next try replaces whatever
    the failed one left.
    """

    def __init__(
        self,
        output: Output,
        raw_scores: bool,
        flush_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output = output
        self._raw_scores = raw_scores
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._buffer: list[Decision] = []
        self._raw_draws = 0
        self._since = 0.0
        self._part = ""

    def add(self, decisions: Sequence[Decision]) -> None:
        """Take rows, and write a part where it is time."""
        if decisions and not self._buffer:
            self._since = self._clock()
            self._part = part_name()
        self._buffer += decisions
        self._raw_draws += sum(len(decision.raw) for decision in decisions)
        if len(self._buffer) >= MAX_ROWS or self._raw_draws >= MAX_RAW_DRAWS:
            self.flush()
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what is buffered where its time has come."""
        if self._buffer and self._clock() - self._since >= self._flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered; when this returns, nothing added so far can be lost."""
        if self._buffer:
            self._output.write_decisions(self._buffer, self._raw_scores, self._part)
            self._buffer = []
            self._raw_draws = 0
