"""A check of any noise schedule before it is used for scoring."""

from __future__ import annotations

import numpy as np

from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import Schedule
from zsd_ray.records.errors import UserError, last_line

_FIRST, _LAST, _N_TIMES = 0.05, 0.95, 19
"""Where a schedule is looked at: its ends may be without noise, or without signal."""


def check_schedule(where: str, schedule: Schedule, parametrisation: Parametrisation) -> None:
    """Check that a schedule goes from data to noise, as its parametrisation needs it.

    Args:
        where: the schedule's name, with which messages begin.

    Raises:
        UserError: it fails, has fewer than two times, is not finite, or does not fall.
    """
    try:
        with np.errstate(all="ignore"):
            t = np.linspace(_FIRST, _LAST, _N_TIMES)
            times = np.unique(schedule.snap(t))  # a chain may be short
            alpha, sigma = schedule.alpha_sigma(times)
            ratio = alpha / sigma
    except Exception as error:  # it may be the user's own
        raise UserError(
            f"{where}: its schedule fails with {type(error).__name__}: {last_line(error)}"
        ) from error
    if not all(np.isfinite(each).all() for each in (times, alpha, sigma, ratio)):
        raise UserError(
            f"{where}: its schedule must be finite, and alpha / sigma come {ratio[0]:g} to "
            f"{ratio[-1]:g}; mend the schedule, or take another copy of the model"
        )
    total = {"flow": alpha + sigma, "v_prediction": alpha**2 + sigma**2}
    if not np.allclose(total.get(parametrisation, 1.0), 1.0, atol=1e-3):
        formula = "alpha + sigma" if parametrisation == "flow" else "alpha^2 + sigma^2"
        raise UserError(
            f"{where}: parametrisation {parametrisation} needs a schedule with {formula} = 1"
        )
    if len(times) < 2 or not (np.diff(ratio) < 0).all():
        raise UserError(
            f"{where}: its schedule must go from data (t=0) to noise (t=1), and alpha / sigma come "
            f"{ratio[0]:g} to {ratio[-1]:g} over {len(times)} times; mend the schedule, or take "
            "another copy of the model"
        )
