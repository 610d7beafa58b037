"""Plain, slow replays of the pruning rules, written from the papers and sharing no code with us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import scipy.stats

Score = Callable[[int, int], float]
"""Score of (draw, class); lower is better."""


class Replayed(NamedTuple):
    prediction: int
    draws_per_class: list[int]
    n_draws: int


def clark_jaini(
    score: Score, n_classes: int, min_scores: int, max_scores: int, p_value: float
) -> Replayed:
    """Clark & Jaini 2023, Algorithm 1, one number at a time."""
    scores: dict[int, list[float]] = {k: [] for k in range(n_classes)}
    alive = list(range(n_classes))
    n = 0
    while len(alive) > 1 and n < max_scores:
        for k in alive:
            scores[k].append(score(n, k))
        n += 1
        if n < min_scores:
            continue
        best = min(alive, key=lambda k: (sum(scores[k]) / n, k))
        doomed = []
        for k in alive:
            if k != best:
                p = scipy.stats.ttest_rel(scores[best], scores[k]).pvalue
                if p < p_value:
                    doomed.append(k)
        alive = [k for k in alive if k not in doomed]
    prediction = min(alive, key=lambda k: (sum(scores[k]) / n, k))
    return Replayed(prediction, [len(scores[k]) for k in range(n_classes)], n)


def li_stages(score: Score, n_classes: int, keep: list[int], draws: list[int]) -> Replayed:
    """Li et al. 2023, Algorithm 2, with nested draws."""
    alive, n = list(range(n_classes)), 0
    scores: dict[int, list[float]] = {k: [] for k in range(n_classes)}
    for kept, end in zip(keep, draws, strict=True):
        if len(alive) == 1:
            break
        for draw in range(n, end):
            for k in alive:
                scores[k].append(score(draw, k))
        n = end
        alive = sorted(alive, key=lambda k: (sum(scores[k]) / n, k))[:kept]
    prediction = min(alive, key=lambda k: (sum(scores[k]) / n, k))
    return Replayed(prediction, [len(scores[k]) for k in range(n_classes)], n)


def from_rows(rows: list[Mapping[str, object]]) -> Score:
    """The scores in an image's rows of OUTPUT/scores."""
    table = {
        (row["draw"], k): row["weight"] * error  # type: ignore[operator]
        for row in rows
        for k, error in zip(row["classes"], row["eps_error"], strict=True)  # type: ignore[call-overload]
    }
    return lambda draw, k: table[draw, k]
