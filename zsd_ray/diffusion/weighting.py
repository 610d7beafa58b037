"""Weightings: score = w(t) * error, lower is better.

The papers weight either the eps-error |eps - eps_hat|^p or the x-error |x0 - x0_hat|^p. With
x_t = alpha x0 + sigma eps the two differ by a known factor, x-error = (sigma / alpha)^p eps-error
(p = 2 for l2, 1 for l1). Errors are kept as eps-errors here, so each function below returns the
factor on the *eps-error*:

name        what it multiplies                          factor on the eps-error
simple      eps-error by 1 (x-error by SNR^(p/2))       1
vdm         eps-error by -(1/2) d log SNR / dt          -(1/2) d log SNR / dt
heuristic   x-error by exp(-7 t)                        exp(-7 t) (sigma / alpha)^p

(sigma / alpha) grows without bound where alpha goes to 0: on a cosine schedule it is 2e4 at
t = 0.999, and one such draw outweighs all others. `method.t_range` (default 0.02 to 0.98) keeps
draws away from both ends.

Two more have no formula; they are fitted to saved scores, a value for each bucket of t:

standardised   1 / sd(t) of the eps-errors of one draw over classes, so that every t says as much
learned        as a logistic model of the label has it (Clark & Jaini 2023)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zsd_ray.diffusion.schedule import Array, Schedule
from zsd_ray.diffusion.time_density import bucket_of
from zsd_ray.spec.method import DiffusionClassifierMethod, Loss, TimeProfile, Weighting

_POWER = {"l2": 2, "l1": 1}


def simple(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """Plain eps-error: Ho et al. 2020 eq. 14; Li et al. 2023 eq. 6 (there "uniform")."""
    return np.ones_like(t)


def vdm(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """The evidence lower bound's weighting: Kingma et al. 2021 eq. 17, on the eps-error."""
    return -0.5 * schedule.log_snr_slope(t)


def heuristic(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """exp(-7 t) on the x-error: Clark & Jaini 2023, section 3.2."""
    alpha, sigma = schedule.alpha_sigma(t)
    return np.exp(-7.0 * t) * (sigma / alpha) ** _POWER[loss]


WEIGHTINGS: dict[str, Callable[[Schedule, Array, Loss], Array]] = {
    "simple": simple,
    "vdm": vdm,
    "heuristic": heuristic,
}


def weights(schedule: Schedule, t: Array, method: DiffusionClassifierMethod) -> Array:
    """Return w(t), the factor on the eps-error at times that were snapped."""
    if method.weighting in WEIGHTINGS:
        return WEIGHTINGS[method.weighting](schedule, t, method.loss)
    assert method.fitted is not None
    return fitted_weights(method.fitted, method.weighting, t)


def fitted_weights(profile: TimeProfile, weighting: Weighting, t: Array) -> Array:
    """Return w(t) of `standardised` or `learned`."""
    if weighting == "standardised":
        values = 1 / np.asarray(profile.sd)
    else:
        assert profile.weights is not None
        values = np.asarray(profile.weights)
    return values[bucket_of(profile.edges, t)]
