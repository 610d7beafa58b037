"""Weightings: score = w(t) * error, lower is better.

A network's error can be read as that of eps, of x0 or of the velocity, whatever it predicts. With
x_t = alpha x0 + sigma eps they differ by known factors. Errors are kept as eps-errors here
(|eps - eps_hat|^p, with p = 2 for l2 and 1 for l1), so each function below returns the factor on
the *eps-error*:

name            what it multiplies                          factor on the eps-error
split           error of x_t's split by 1                   see `split`; sigma^p
simple          eps-error by 1                              1
x-error         x-error by 1                                (sigma / alpha)^p
velocity        velocity's error by 1                       see `velocity`; 1 / alpha^p
vdm             eps-error by -(1/2) d log SNR / dt          -(1/2) d log SNR / dt
heuristic       x-error by exp(-7 t)                        exp(-7 t) (sigma / alpha)^p
training-loss   the error of what the network predicts      simple, x-error or velocity

(sigma / alpha) grows without bound where alpha goes to 0: on a cosine schedule it is 2e4 at
t = 0.999, and one such draw outweighs all others. `method.snr_range` and `t_range` keep draws away
from there.

Two more have no formula; they are fitted to saved scores, a value for each bucket of t:

standardised   1 / sd(t) of the eps-errors of one draw over classes, so that every t says as much
learned        as a logistic model of the label has it (Clark & Jaini 2023)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zsd_ray.config.classifier_method import DiffusionClassifierMethod, Weighting
from zsd_ray.config.time_profile import Loss, TimeProfile
from zsd_ray.diffusion.schedule import Array, Schedule
from zsd_ray.diffusion.time_density import bucket_of

if TYPE_CHECKING:  # it is beside functions of torch, which saved scores do without
    from zsd_ray.diffusion.parametrisation import Parametrisation

_POWER = {"l2": 2, "l1": 1}


def split(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """How wrongly the network splits x_t into image and noise: the default.

    x_t is alpha x0 + sigma eps, whatever it predicts, so both parts are wrong by the same:
    alpha (x0_hat - x0) = -sigma (eps_hat - eps). In units of x_t's variance where image and noise
    have unit variance, that is sigma / sqrt(alpha^2 + sigma^2) = 1 / sqrt(1 + SNR) times the error
    of eps. In noise it is the eps-error, near the image the x-error, and it has no end at which it
    grows without bound (docs/decisions, the-default-estimator).
    """
    alpha, sigma = schedule.alpha_sigma(t)
    return (sigma / np.hypot(alpha, sigma)) ** _POWER[loss]


def simple(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """Plain eps-error: Ho et al. 2020 eq. 14; Li et al. 2023 eq. 6 (there "uniform")."""
    return np.ones_like(t)


def x_error(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """Plain error of x0: x0 - x0_hat = (sigma / alpha) (eps_hat - eps) (Salimans & Ho 2022)."""
    alpha, sigma = schedule.alpha_sigma(t)
    return (sigma / alpha) ** _POWER[loss]


def velocity(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """Plain error of the velocity.

    On a straight path it is u = eps - x0 (Esser et al. 2024, section 2), whose error is
    (alpha + sigma) / alpha times that of eps, with alpha + sigma = 1. Elsewhere it is
    v = alpha eps - sigma x0 of x_t scaled to unit variance (Salimans & Ho 2022, section 4), with
    the factor sqrt(alpha^2 + sigma^2) / alpha: 1 / alpha where x_t has unit variance as it is, and
    for Karras et al. 2022 their F's error at sigma_data = 1.
    """
    alpha, sigma = schedule.alpha_sigma(t)
    straight = np.isclose(alpha + sigma, 1.0)
    scale = np.where(straight, alpha + sigma, np.hypot(alpha, sigma))
    return (scale / alpha) ** _POWER[loss]


def vdm(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """The evidence lower bound's weighting: Kingma et al. 2021 eq. 17, on the eps-error."""
    return -0.5 * schedule.log_snr_slope(t)


def heuristic(schedule: Schedule, t: Array, loss: Loss) -> Array:
    """exp(-7 t) on the x-error: Clark & Jaini 2023, section 3.2."""
    return np.exp(-7.0 * t) * x_error(schedule, t, loss)


WEIGHTINGS: dict[str, Callable[[Schedule, Array, Loss], Array]] = {
    "split": split,
    "simple": simple,
    "x-error": x_error,
    "velocity": velocity,
    "vdm": vdm,
    "heuristic": heuristic,
}

TRAINING_LOSS: dict[Parametrisation, Weighting] = {
    "epsilon": "simple",
    "sample": "x-error",
    "v_prediction": "velocity",
    "flow": "velocity",
}
"""The weighting under which a score is the plain error of what the network predicts."""


def weights(
    schedule: Schedule,
    t: Array,
    method: DiffusionClassifierMethod,
    parametrisation: Parametrisation | None = None,
) -> Array:
    """Return w(t), the factor on the eps-error at times that were snapped.

    Args:
        parametrisation: what the network predicts, which `training-loss` asks for; None: unknown.

    Raises:
        ValueError: it is asked for and not known.
    """
    name = method.weighting
    if name == "training-loss":
        if parametrisation is None:
            raise ValueError(
                "what the network predicts is not in the scores; name simple (eps), x-error (the "
                "image) or velocity"
            )
        name = TRAINING_LOSS[parametrisation]
    if name in WEIGHTINGS:
        return WEIGHTINGS[name](schedule, t, method.loss)
    assert method.fitted is not None
    return fitted_weights(method.fitted, name, t)


def fitted_weights(profile: TimeProfile, weighting: Weighting, t: Array) -> Array:
    """Return w(t) of `standardised` or `learned`."""
    if weighting == "standardised":
        values = 1 / np.asarray(profile.sd)
    else:
        assert profile.weights is not None
        values = np.asarray(profile.weights)
    return values[bucket_of(profile.edges, t)]
