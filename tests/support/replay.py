"""Plain, slow replays of the pruning rules, written from the papers and sharing no code with us."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import scipy.optimize
import scipy.stats
from scipy.special import digamma, polygamma

Score = Callable[[int, int], float]
Prior = tuple[float, float]
"""Of the variances: how many draws it is worth, and its variance."""
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


def halving(
    score: Score, n_classes: int, first: int, growth: float, keep: float, most: int
) -> Replayed:
    """Successive halving with nested draws."""
    alive, n, end = list(range(n_classes)), 0, first
    scores: dict[int, list[float]] = {k: [] for k in range(n_classes)}
    while True:
        for draw in range(n, end):
            for k in alive:
                scores[k].append(score(draw, k))
        n = end
        kept = max(1, math.ceil(keep * len(alive)))
        if kept == len(alive) and kept > 1:
            kept -= 1
        alive = sorted(alive, key=lambda k: (sum(scores[k]), k))[:kept]
        if len(alive) == 1 or n == most:
            break
        end = min(most, max(n + 1, round(n * growth)))
    prediction = min(alive, key=lambda k: (sum(scores[k]) / n, k))
    return Replayed(prediction, [len(scores[k]) for k in range(n_classes)], n)


def paired_t(score: Score, n_classes: int, first: int, most: int, p_value: float) -> Replayed:
    """A paired t-test with scipy's own variances, after every draw."""

    def worse(lead: list[float], other: list[float], prior: Prior) -> float:
        p = scipy.stats.ttest_rel(lead, other).pvalue
        return -p if sum(other) > sum(lead) else -1.0

    return _sequential(score, n_classes, first, most, worse, -p_value)


def anytime(
    score: Score,
    n_classes: int,
    first: int,
    most: int,
    alpha: float,
    scale: float,
    moderated: bool,
    growth: float = 1.0,
    indifference: float | None = None,
    race: int | None = None,
) -> Replayed:
    """Elimination by the normal mixture with unknown variance, one class at a time.

    `race` is what alpha is shared among, where a screen left fewer classes.
    """
    race = race or n_classes

    def worse(lead: list[float], other: list[float], prior: Prior) -> float:
        d, s2 = prior
        x = _gaps(lead, other)
        log, left, about = _mixture(x, scale, d, s2)
        g = scale**2 / (1 + len(x) * scale**2)
        t = sum(x) * math.sqrt(g * (len(x) + d) / (about * left))
        return log + math.log(2 * scipy.stats.t.cdf(t, len(x) + d))

    def settled(lead: list[float], other: list[float]) -> bool:
        """A leader that is worse by `indifference` is outside the confidence sequence."""
        assert indifference is not None
        x = _gaps(lead, other)
        worst = -indifference * statistics.stdev(x)
        log, _, _ = _mixture([value - worst for value in x], indifference)
        return statistics.mean(x) > worst and log >= math.log((race - 1) / 0.05)

    limit = math.log((race - 1) / alpha)
    stop = None if indifference is None else settled
    prior = _smyth if moderated else _no_prior
    return _sequential(score, n_classes, first, most, worse, limit, growth, stop, prior)


def _gaps(lead: list[float], other: list[float]) -> list[float]:
    """Over the draws that both had."""
    return [b - a for a, b in zip(lead, other, strict=False)]


def _mixture(
    x: list[float], scale: float, d: float = 0.0, s2: float = 0.0
) -> tuple[float, float, float]:
    """log of the mixture's likelihood ratio, and two of its parts."""
    n, total, about = len(x), sum(x), d * s2 + sum(value**2 for value in x)
    left = 1 - total**2 * scale**2 / (1 + n * scale**2) / about
    return -0.5 * math.log(1 + n * scale**2) - 0.5 * (n + d) * math.log(left), left, about


def _no_prior(gaps: list[list[float]]) -> Prior:
    return 0.0, 0.0


def _smyth(gaps: list[list[float]]) -> Prior:
    """The prior of the variances of these samples, by root finding."""
    variances = [statistics.variance(sample) for sample in gaps if len(sample) > 1]
    df = [len(sample) - 1 for sample in gaps if len(sample) > 1]
    if len(variances) < 3:
        return 0.0, 0.0
    pairs = list(zip(variances, df, strict=True))
    logs = [math.log(v) - float(digamma(f / 2)) + math.log(f / 2) for v, f in pairs]
    spread = statistics.variance(logs) - statistics.mean(float(polygamma(1, f / 2)) for f in df)
    d = 10.0
    if spread > 0:
        root = scipy.optimize.brentq(lambda x: polygamma(1, x) - spread, 1e-9, 1e12)
        d = min(d, 2 * root)
    return d, math.exp(statistics.mean(logs) + float(digamma(d / 2)) - math.log(d / 2))


def _sequential(
    score: Score,
    n_classes: int,
    first: int,
    most: int,
    worse: Callable[[list[float], list[float], Prior], float],
    limit: float,
    growth: float = 1.0,
    settled: Callable[[list[float], list[float]], bool] | None = None,
    prior_of: Callable[[list[list[float]]], Prior] = _no_prior,
) -> Replayed:
    scores: dict[int, list[float]] = {k: [] for k in range(n_classes)}
    alive = list(range(n_classes))
    n, end = 0, first
    while len(alive) > 1:
        for k in alive:
            scores[k] += [score(draw, k) for draw in range(len(scores[k]), end)]
        n = end
        lead = min((k for k in alive if len(scores[k]) == n), key=lambda k: (sum(scores[k]), k))
        others = [k for k in alive if k != lead]
        prior = prior_of([_gaps(scores[lead], scores[k]) for k in others])
        evidence = {k: worse(scores[lead], scores[k], prior) for k in others}
        alive = [k for k in alive if k == lead or evidence[k] < limit]
        if n == most:
            break
        if settled and all(settled(scores[lead], scores[k]) for k in alive if k != lead):
            break
        end = min(most, max(n + 1, math.ceil(n * growth)))
    longest = max(len(scores[k]) for k in alive)
    best = [k for k in alive if len(scores[k]) == longest]
    prediction = min(best, key=lambda k: (sum(scores[k]), k))
    return Replayed(prediction, [len(scores[k]) for k in range(n_classes)], n)


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Score:
    """The scores in an image's rows of OUTPUT/scores."""
    table = {
        (row["draw"], k): row["weight"] * error
        for row in rows
        for k, error in zip(row["classes"], row["eps_error"], strict=True)
    }
    return lambda draw, k: table[draw, k]
