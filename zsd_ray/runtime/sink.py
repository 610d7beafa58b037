"""The sink actor: rows leave the scheduler at once and are written beside it."""

from __future__ import annotations

import ray

from zsd_ray.results.decision_writer import DecisionWriter
from zsd_ray.results.output import Output
from zsd_ray.spec.records import Decision


@ray.remote(num_cpus=0)
class Sink:
    """Owns the output's Parquet parts. Rows that could not be written stay for the next try."""

    def __init__(self, output: Output, raw_scores: bool, flush_seconds: float) -> None:
        self._writer = DecisionWriter(output, raw_scores, flush_seconds)

    def add(self, decisions: list[Decision]) -> None:
        """Take rows; raises what the filesystem raises."""
        self._writer.add(decisions)

    def flush_if_due(self) -> None:
        """Write what has waited for its time."""
        self._writer.flush_if_due()

    def flush(self) -> None:
        """Return once every row that was added is written."""
        self._writer.flush()
