"""Accuracy on damaged pictures and on shifted data, as the rows that tables and figures are of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CorruptedAccuracy:
    """One model, by one method, on one data set whose pictures are all corrupted alike.

    name: of the model and the method, as shown.
    kind, strength: as data.corruption has them; None and 0 of the clean pictures, which a curve of
        every kind starts with.
    value, low, high: accuracy and its 95 % interval.
    chance: what guessing gives, where that is known.
    """

    name: str
    dataset: str
    kind: str | None
    strength: int
    value: float
    low: float
    high: float
    chance: float | None = None


@dataclass(frozen=True)
class ShiftedAccuracy:
    """One model, by one method, on its usual data (id) and on data that shifts away (ood).

    name: of the model and the method, as shown; dataset: the shifted one.
    is_baseline: whether the line of what is to be expected goes by it.
    """

    name: str
    dataset: str
    id_correct: int
    id_images: int
    ood_correct: int
    ood_images: int
    is_baseline: bool = False
