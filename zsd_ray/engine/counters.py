"""What a scheduler has done so far, in numbers."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass
class Counters:
    """What happened so far.

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

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))
