"""The sink actor: rows leave the scheduler at once and are written beside it."""

from __future__ import annotations

import ray

from zsd_ray.results.decision_writer import DecisionWriter
from zsd_ray.results.output import Output
from zsd_ray.spec.records import Decision


@ray.remote(num_cpus=0)
class Sink:
    """Owns the output's Parquet parts."""

    def __init__(self, output: Output, raw_scores: bool, flush_seconds: float) -> None:
        self._writer = DecisionWriter(output, raw_scores, flush_seconds)

    def add(self, decisions: list[Decision]) -> None:
        """Take rows; raises what the filesystem raises."""
        for decision in decisions:
            self._writer.add(decision)

    def flush(self) -> None:
        """Return once every row that was added is written."""
        self._writer.flush()
