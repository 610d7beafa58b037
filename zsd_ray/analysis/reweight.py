"""Saved draws under another weighting."""

from __future__ import annotations

import numpy as np

from zsd_ray.analysis.saved_scores import Array, SavedScores
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.diffusion.saved_schedule import SavedSchedule
from zsd_ray.diffusion.weighting import weights
from zsd_ray.records.errors import UserError


def reweighted(
    scores: SavedScores, was: DiffusionClassifierMethod, now: DiffusionClassifierMethod
) -> Array:
    """Return the weight of every saved draw under the weighting of `now`, (R,) float64.

    A run whose times have their own density (timesteps importance) saved w(t) times a
    correction for it; the correction stays.

    Args:
        was: the run's own method; the two differ only in weighting and fitted.

    Raises:
        UserError: the weights cannot be computed from the saved times.
    """
    if (was.weighting, was.fitted) == (now.weighting, now.fitted):
        return scores.weight
    schedule = SavedSchedule(scores.t, scores.alpha, scores.sigma)
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = weights(schedule, scores.t, now)
            if was.timesteps == "importance":
                weight = weight * (scores.weight / weights(schedule, scores.t, was))
    except ValueError as error:
        raise UserError(
            f"weighting {now.weighting} does not follow from the saved draws: {error}"
        ) from error
    if not np.isfinite(weight).all():
        raise UserError(
            f"weighting {now.weighting} is not finite at all saved times, or the run's own "
            f"weighting ({was.weighting}) is 0 at some of them; replay with another"
        )
    return weight
