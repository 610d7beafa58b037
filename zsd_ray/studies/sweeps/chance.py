"""Whether a task was solved, or guessed."""

from __future__ import annotations

from scipy.stats import binomtest


def beats_chance(correct: int, n: int, chance: float) -> float:
    """The exact two-sided p of `correct` right answers of `n`, if each were right by `chance`.

    Small too where there are fewer right answers than guessing gives: an answer that is reliably
    wrong is no guess either, so look at the accuracy as well. 1 where n is 0.

    Args:
        chance: in (0, 1), the probability of a right guess: 1/2 of two answers.

    Raises:
        ValueError: not 0 <= correct <= n, or another chance.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"needs 0 <= correct <= n, but came {correct} of {n}")
    if not 0 < chance < 1:
        raise ValueError(f"needs a chance between 0 and 1, but came {chance}")
    return float(binomtest(correct, n, chance).pvalue) if n else 1.0
