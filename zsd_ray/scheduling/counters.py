"""Counters of a scheduler's work so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any


@dataclass
class Counters:
    """Numbers of images, evaluations and retries so far.

    n_evaluations and n_spent are those of decided images; n_scored counts evaluations as they are
    answered, and n_rows adds the rows that padded a batch. n_retries counts micro-batches that a
    lost worker left.
    """

    decided: int = 0
    errors: int = 0
    labelled: int = 0
    correct: int = 0
    n_evaluations: int = 0
    n_spent: int = 0
    n_scored: int = 0
    n_rows: int = 0
    n_micro_batches: int = 0
    n_retries: int = 0

    @classmethod
    def of_session(
        cls, rows: Sequence[Mapping[str, Any]], saved: Sequence[Mapping[str, int]]
    ) -> Counters:
        """Return a session's counters from its decision rows, the rest from its checkpoint."""
        labelled = [r for r in rows if r["label"] is not None and r["prediction"] is not None]
        counters = cls(
            decided=len(rows),
            errors=sum(row["error"] is not None for row in rows),
            labelled=len(labelled),
            correct=sum(row["label"] == row["prediction"] for row in labelled),
            n_evaluations=sum(row["n_evaluations"] for row in rows),
            n_spent=sum(row["n_spent"] for row in rows),
        )
        for counts in saved:
            for name in ("n_scored", "n_rows", "n_micro_batches", "n_retries"):
                setattr(counters, name, counts[name])
        return counters

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))
