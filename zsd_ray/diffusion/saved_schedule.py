"""A schedule that is known at saved draws only: enough for a weighting, without the model."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline

from zsd_ray.diffusion.schedule import Array

_BINS = 5_000  # of t; a chain has fewer steps
_LEAST_GAP = 1e-6  # between knots: nearer ones would make a slope of rounding errors


class SavedSchedule:
    """alpha and sigma at saved times, as they are; the slope of log SNR, interpolated.

    log SNR is a cubic spline of logit(t), in which it is straight for flow matching
    (alpha = 1 - t, sigma = t) and smooth for the others. For a chain of T steps the slope is that
    of `DiscreteSchedule`, the difference of log SNR between the neighbouring steps over the time
    between them: exact where both were saved.

    Args:
        t, alpha, sigma: (R,) float64, of draws, in any order and with repetitions.
    """

    def __init__(self, t: Array, alpha: Array, sigma: Array) -> None:
        self._t, first = np.unique(t, return_index=True)
        self._alpha, self._sigma = alpha[first], sigma[first]

    @cached_property
    def _log_snr(self) -> CubicSpline:
        with np.errstate(divide="ignore"):
            log_snr = 2 * (np.log(self._alpha) - np.log(self._sigma))
        if len(self._t) < 2 or not np.isfinite(log_snr).all():
            raise ValueError("needs two different times or more, with 0 < alpha and 0 < sigma")
        _, knots = np.unique((self._t * _BINS).astype(np.int64), return_index=True)
        knots = knots[np.diff(self._t[knots], prepend=-1.0) > _LEAST_GAP]
        return CubicSpline(_logit(self._t[knots]), log_snr[knots])

    def snap(self, t: Array) -> Array:
        return t  # they were snapped before they were saved

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        """Return the values saved at `t`, bit for bit; each t must have been saved."""
        place = np.searchsorted(self._t, t)
        assert np.array_equal(self._t[place], t)
        return self._alpha[place], self._sigma[place]

    def log_snr_slope(self, t: Array) -> Array:
        """Return d log(alpha^2 / sigma^2) / dt.

        Raises:
            ValueError: less than two different times were saved, or one that has no finite SNR.
        """
        if self._step is None:
            slope: Array = self._log_snr(_logit(t), 1) / (t * (1 - t))
            return slope
        last = 1 - self._step / 2
        ahead, behind = np.minimum(t + self._step, last), np.maximum(t - self._step, 1 - last)
        rise = self._log_snr(_logit(ahead)) - self._log_snr(_logit(behind))
        difference: Array = rise / (ahead - behind)
        return difference

    def model_time(self, t: Array) -> Array:
        raise AssertionError("there is no network to be told the time")

    @cached_property
    def _step(self) -> float | None:
        """1 / T where the times are middles of the steps of a variance-preserving chain."""
        if len(self._t) < 2 or not np.allclose(self._alpha**2 + self._sigma**2, 1.0):
            return None
        n_steps = round(1 / np.diff(self._t).min())
        steps = self._t * n_steps - 0.5
        return 1 / n_steps if np.allclose(steps, np.round(steps), atol=1e-6) else None


def _logit(t: Array) -> Array:
    logit: Array = np.log(t) - np.log1p(-t)
    return logit
