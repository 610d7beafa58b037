"""The elimination of one image again, from scores that were saved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsd_ray.engine.elimination import Elimination, Outcome
from zsd_ray.spec.records import ItemScores, WorkItem
from zsd_ray.stats.rules import Rule


def replay(
    rule: Rule,
    errors_DK: NDArray[np.float32],
    draws_D4: NDArray[np.float64],
    candidates: NDArray[np.int32] | None = None,
    offset: NDArray[np.float64] | None = None,
) -> Outcome | None:
    """Decide one image as a run under `rule` does; None where that wants what was not saved.

    It is the run's own code that decides, so an outcome here is one there, to the last bit.

    Args:
        errors_DK: of D draws and K classes; nan from the draw on that a class was not given.
        draws_D4: t, alpha, sigma and weight of each draw; score = weight times error.
        candidates: (C,) int32, ascending: the classes in the race; None: all.
        offset: (K,), as `Elimination` takes it; the rule then looks no sooner than that wants.
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
    fed_K = np.zeros(len(given_K), dtype=np.int64)
    while elimination.outcome is None:
        classes = np.array(elimination.classes)
        end = elimination.target
        if not rule.may_wait:
            # Twice what was seen: few looks at blocks, and no block much longer than needed.
            end = max(end, min(2 * elimination.n_draws, int(given_K[classes].min())))
        for first in np.unique(fed_K[classes]).tolist():  # more than one where classes waited
            of = classes[fed_K[classes] == first]
            if given_K[of].min() < end:
                return None
            item = WorkItem(0, first, end - first, tuple(of.tolist()))
            draws = slice(first, end)
            elimination.add(item, ItemScores(errors_DK[draws, of], draws_D4[draws]))
        fed_K[classes] = end
    return elimination.outcome
