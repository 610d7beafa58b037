"""Replaying the elimination of one image from saved scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.draw_table import Draws
from zsd_ray.records.scores import ItemScores, WorkItem
from zsd_ray.rules.rule import Rule
from zsd_ray.scheduling.elimination import Elimination, Outcome


def replay(
    rule: Rule,
    errors_DK: NDArray[np.float32],
    drawn: Draws,
    candidates: NDArray[np.int32] | None = None,
    offset: NDArray[np.float64] | None = None,
) -> Outcome | None:
    """Decide one image as a run under `rule` does; None if that needs scores that were not saved.

    The run's own code decides, so outcomes are the same to the last bit.

    Args:
        errors_DK: of D draws and K classes; nan from the draw on that a class was not given.
        drawn: the D draws.
        candidates: (C,) int32, ascending: the classes in the race; None: all.
        offset: (K,), as for `Elimination`; the rule then makes its first test no sooner than that
            requires.
    """
    elimination = Elimination(
        rule, errors_DK.shape[1], keep_raw=False, candidates=candidates, offset=offset
    )
    if elimination.outcome is not None:  # of one candidate, which had no draw
        return elimination.outcome
    if not len(errors_DK):
        return None
    unknown = np.isnan(errors_DK)
    given_K = np.where(unknown.any(axis=0), unknown.argmax(axis=0), len(errors_DK))
    first = 0
    while elimination.outcome is None:
        classes = elimination.survivors
        n_given = int(given_K[classes].min())
        # Twice what was seen: few calls, and none with much more than is needed.
        end = max(elimination.target, min(2 * elimination.n_draws, n_given))
        if n_given < end:
            return None
        item = WorkItem(0, first, end - first, elimination.classes)
        draws = slice(first, end)
        elimination.add(item, ItemScores(errors_DK[draws, classes], drawn[draws]))
        first = end
    return elimination.outcome
