"""The likelihood of the image under each class: Startsev & Singh, Algorithm 1.

    class = argmax_k  log p(x_0 | prompt_k)

by the probability-flow ODE (Song et al. 2021, section 4.3). With y = x / alpha and
lambda = sigma / alpha it is dy / dlambda = eps_hat(alpha y, t) for every schedule; in
u = log(lambda), in which steps are even,

    dy / du = lambda eps_hat,    d log p(y) / du = -lambda div_y eps_hat,

from y = x_0 at the low end of `t_range` to its high end, with a chain's time as a real number
between its steps. The divergence is Hutchinson's estimate; its probe stays the same along the way,
and for all classes, so that their differences have less noise than they.

The paper leaves the solver, its tolerances, the number and kind of probes and both ends open. Ours:

- At the high end y is taken for N(0, (1 + lambda^2) I): data of unit variance, and noise. In x that
  is log N(x; 0, (alpha^2 + sigma^2) I) + D log(alpha). Where a class has mean m, its log-likelihood
  comes out wrong by about m y / lambda^2, which fades as 1 / lambda.
- The density is that of y at the low end: of x_0 with noise of lambda there, not of x_0 itself,
  which has none where data lie on a surface.
- Probes are averaged, and so are templates: log-likelihoods, not densities.

An evaluation is one forward with its vector-Jacobian product, which costs about two more forwards.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.algorithms import ExactLikelihoodMethod
from zsd_ray.diffusion import ode
from zsd_ray.diffusion.likelihood import bits_per_dimension, log_prior, value_and_divergence
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.diffusion.schedule import Array, Continuous
from zsd_ray.methods.class_rows import ClassRows, Index, Rows
from zsd_ray.methods.method import Bound
from zsd_ray.records.errors import UserError

_TABLEAUS = {"heun": ode.HEUN, "rk4": ode.RK4}


class ExactLikelihood(ClassRows):
    """A score is -log p(x_0 | prompt) in nats, and its weight makes it bits per dimension. A draw
    is one probe, and its t the high end.

    Raises:
        UserError: the model's schedule knows nothing between its times, the ends of t_range are
            not two levels of noise, or the network cannot be differentiated.
    """

    def __init__(self, bound: Bound, config: ExactLikelihoodMethod) -> None:
        super().__init__(bound)
        self._config = config
        self.weight = bits_per_dimension(1.0, bound.denoiser.sample_shape)
        schedule = bound.denoiser.schedule
        if not isinstance(schedule, Continuous):
            raise UserError(
                "method.name exact-likelihood needs a schedule with at_log_level, which the "
                "model's has not: see docs/how-to/custom-models.md"
            )
        self._schedule = schedule
        ends = bound.denoiser.schedule.snap(np.array(config.t_range))
        alpha, sigma = bound.denoiser.schedule.alpha_sigma(ends)
        with np.errstate(divide="ignore"):
            low, high = np.log(sigma) - np.log(alpha)
        if not -np.inf < low < high < np.inf:
            raise UserError(
                f"method.t_range {list(config.t_range)} has noise-to-signal ratios from "
                f"{np.exp(low):g} to {np.exp(high):g}; needs 0 < low < high < inf"
            )
        self._low, self._high, self._t = low, high, ends[1]
        self._check_differentiable(ends[1:])

    def _check_differentiable(self, t: Array) -> None:
        bound = self.bound
        first = {name: of[:1] for name, of in bound.conditioning.items()}
        x = torch.zeros((1, *bound.denoiser.sample_shape), device=bound.denoiser.device)
        with torch.enable_grad():
            output = bound.denoiser.predict(x.requires_grad_(), bound.model_time(t), first)
        if not output.requires_grad:
            raise UserError(
                "method.name exact-likelihood differentiates the network, and this one's output "
                "does not depend on x by torch's autograd: see docs/how-to/custom-models.md"
            )

    def times(self, numbers: range) -> Array:
        return np.full(len(numbers), self._t)

    def noise(self, image_id: str, numbers: range) -> NDArray[np.float32]:
        """Return the probes: normal noise, or its signs."""
        normal = super().noise(image_id, numbers)
        if self._config.probe == "gaussian":
            return normal
        return np.copysign(np.float32(1), normal)

    def score_rows(self, rows: Rows) -> tuple[torch.Tensor, Index]:
        """Score rows; a row on which the solver gives up is nan."""
        config, n_dimensions = self._config, rows.x_0[0].numel()
        field = self._field(rows)
        way = (field, rows.x_0, self._low, self._high)
        if config.solver == "adaptive":
            end = ode.adaptive(*way, rtol=config.rtol, atol=config.atol)
        else:
            end = ode.fixed(*way, config.steps, _TABLEAUS[config.solver])
        nats = -log_prior(end.y, np.exp(self._high)) - n_dimensions * end.integral
        nats = np.where(end.reached, nats, np.nan).astype(np.float32)
        return torch.from_numpy(nats), end.n_evaluations

    def _field(self, rows: Rows) -> ode.Field:
        """Return lambda eps_hat, and lambda div eps_hat per dimension so tolerances fit both."""
        denoiser = self.bound.denoiser
        conditioning = {name: of[rows.prompt] for name, of in self.bound.conditioning.items()}
        n_dimensions = rows.x_0[0].numel()

        def field(y: torch.Tensor, u_B: Array) -> ode.Slope:
            scales = np.stack([np.exp(u_B), *self._schedule.at_log_level(u_B)])
            on_device = torch.from_numpy(scales.astype(np.float32)).to(denoiser.device)
            level_B, _, _, time_B = on_device
            level, alpha, sigma, _ = on_device[:, :, None, None, None]

            def epsilon(y: torch.Tensor) -> torch.Tensor:
                x = alpha * y
                output = denoiser.predict(x, time_B, conditioning)
                return to_epsilon(output, x, alpha, sigma, denoiser.parametrisation)

            eps, divergence = value_and_divergence(epsilon, y, rows.noise)
            return level * eps, level_B * divergence / n_dimensions

        return field
