"""Noise schedules: x_t = alpha(t) x_0 + sigma(t) eps, with t in [0, 1] from data to noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Schedule(Protocol):
    """alpha and sigma over t in [0, 1], in float64."""

    def snap(self, t: Array) -> Array:
        """Return the nearest times that the model was trained on (itself for continuous time)."""

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        """Return the signal and noise scales at times `t`, each of t's shape."""

    def log_snr_slope(self, t: Array) -> Array:
        """Return d log(alpha^2 / sigma^2) / dt at `t` (negative: the signal fades)."""

    def model_time(self, t: Array) -> Array:
        """Return the network's time input for snapped times."""


@runtime_checkable
class Continuous(Protocol):
    """A schedule that can be followed continuously, though it may be a chain."""

    def at_log_level(self, log_level: Array) -> tuple[Array, Array, Array]:
        """Return alpha, sigma and the network's time where log(sigma / alpha) is `log_level`."""


@dataclass(frozen=True)
class DiscreteSchedule:
    """A variance-preserving chain of T steps (Ho et al. 2020), as diffusers schedulers define it.

    Step k in 0..T-1 stands for the time (k + 1/2) / T, the middle of its slice of [0, 1], so that
    a uniform t falls on every step equally often.
    """

    alphas_cumprod: Array

    @classmethod
    def from_betas(cls, betas: Array) -> DiscreteSchedule:
        """Accumulate betas (T,) in float64; half precision distorts sigma by 7 % near t = 0."""
        kept = 1.0 - np.asarray(betas, dtype=np.float64)
        return cls(np.multiply.accumulate(kept, dtype=np.float64))

    @property
    def n_steps(self) -> int:
        return len(self.alphas_cumprod)

    def steps(self, t: Array) -> NDArray[np.int64]:
        """Return the index of the step whose slice holds each t."""
        return np.clip((np.asarray(t) * self.n_steps).astype(np.int64), 0, self.n_steps - 1)

    def snap(self, t: Array) -> Array:
        return (self.steps(t) + 0.5) / self.n_steps

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        alpha_bar = self.alphas_cumprod[self.steps(t)]
        return np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)

    def log_snr_slope(self, t: Array) -> Array:
        log_snr = np.log(self.alphas_cumprod) - np.log1p(-self.alphas_cumprod)
        slope: Array = np.gradient(log_snr, 1.0 / self.n_steps)
        return slope[self.steps(t)]

    def model_time(self, t: Array) -> Array:
        return self.steps(t).astype(np.float64)

    def at_log_level(self, log_level: Array) -> tuple[Array, Array, Array]:
        """Between two steps, time is a real number, linear in log(sigma / alpha).

        A network that embeds its time by sines takes it as it is; one that looks it up has no such
        entry, and gets the step below.
        """
        time = np.interp(log_level, self._log_levels, np.arange(self.n_steps))
        level = np.exp(log_level)
        alpha = 1.0 / np.sqrt(1.0 + level**2)
        return alpha, level * alpha, time

    @cached_property
    def _log_levels(self) -> Array:
        with np.errstate(divide="ignore"):  # a last step without signal
            log_levels: Array = (np.log1p(-self.alphas_cumprod) - np.log(self.alphas_cumprod)) / 2
        return log_levels


@dataclass(frozen=True)
class FlowSchedule:
    """The straight path of flow matching (Liu et al. 2022; Esser et al. 2024, section 2).

    x_t = (1 - t) x_0 + t eps, in continuous time; the network predicts the velocity eps - x_0.

    Args:
        scale: the network's time input is `scale` * t.
    """

    scale: float

    def snap(self, t: Array) -> Array:
        return np.asarray(t, dtype=np.float64)

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        return 1.0 - t, np.asarray(t, dtype=np.float64)

    def log_snr_slope(self, t: Array) -> Array:
        return -2.0 / (t * (1.0 - t))

    def model_time(self, t: Array) -> Array:
        return self.scale * t

    def at_log_level(self, log_level: Array) -> tuple[Array, Array, Array]:
        t = 1.0 / (1.0 + np.exp(-log_level))
        return 1.0 - t, t, self.scale * t


@dataclass(frozen=True)
class KarrasSchedule:
    """Noise levels sigma without fading (Karras et al. 2022, eq. 5): x_t = x_0 + sigma eps.

    t in [0, 1] runs from sigma_min to sigma_max along their ramp, uniform in sigma^(1/rho). The
    network's time input is sigma itself; the adapter applies the preconditioning.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def snap(self, t: Array) -> Array:
        return np.asarray(t, dtype=np.float64)

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        sigma: Array = self._root(t) ** self.rho
        return np.ones_like(sigma), sigma

    def log_snr_slope(self, t: Array) -> Array:
        # log SNR = -2 log sigma = -2 rho log(root), and root is linear in t.
        return -2.0 * self.rho * (self._root(1.0) - self._root(0.0)) / self._root(t)

    def model_time(self, t: Array) -> Array:
        return self.alpha_sigma(t)[1]

    def at_log_level(self, log_level: Array) -> tuple[Array, Array, Array]:
        sigma = np.exp(log_level)
        return np.ones_like(sigma), sigma, sigma

    def _root(self, t: Array | float) -> Array:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        root: Array = low + np.asarray(t, dtype=np.float64) * (high - low)
        return root
