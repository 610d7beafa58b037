"""The common part of algorithms that optimise parameters per image, by the diffusion loss.

    minimise over theta   L(theta) = E_{t, eps} |eps_hat(x_t, t, c(theta)) - eps|^2 / (C H W)

A *problem* is one draw of one image, which has a theta of its own, and its own optimiser: Adam
(Kingma & Ba 2015), with its usual decays. Each step estimates L by `batch_size` pairs (t, eps).
They are addressed as draws are: pair j of step s of draw d is number d * 2**32 + s * batch_size + j
of the image, with stratified times. So a problem does not depend on others, and with more steps it
follows the same path further.

Problems that share a forward descend side by side. One that ends is left out, and its rows are
padding from then on. A network forward with its backward counts as one evaluation.

Shapes: P problems, R rows (those of a step), C channels, H x W of x, k classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.algorithms import TextualInversionMethod, WeightedPromptsMethod
from zsd_ray.diffusion import draws
from zsd_ray.methods.class_rows import batches
from zsd_ray.methods.method import Bound, Method, Sample, Unit, UnitScores

Tensors = Mapping[str, torch.Tensor]
PullBack = Callable[[Tensors], list[torch.Tensor]]
"""From gradients of a loss in each problem's conditioning to those in what it learns."""

_DRAW = 1 << 32
"""Numbers that a draw owns: more than 10,000 steps of any batch that fits a machine."""


class Problem(ABC):
    """One draw of one image: its learned parameters, and the progress of the descent.

    Args:
        learned: the initial theta, float32; changed in place.

    Attributes:
        x_0: (A, C, H, W) float32; row number j of all steps has that of number j modulo A.
    """

    def __init__(
        self,
        sample: Sample,
        draw: int,
        classes: Sequence[int],
        x_0_ACHW: torch.Tensor,
        learned: torch.Tensor,
        learning_rate: float,
    ) -> None:
        self.sample = sample
        self.first_number = draw * _DRAW
        self.classes = list(classes)
        self.x_0 = x_0_ACHW
        self.learned = learned
        self.n_steps = 0
        self._optimiser = torch.optim.Adam([learned], lr=learning_rate)

    def step(self, gradient: torch.Tensor) -> None:
        """Make one optimiser step."""
        self.learned.grad = gradient
        self._optimiser.step()
        self.n_steps += 1

    @abstractmethod
    def ended(self, loss: float) -> bool:
        """Return whether to stop after this step, given the batch's loss at its start."""


P = TypeVar("P", bound=Problem)


class Descent(Method, Generic[P]):
    """Solves all problems of a micro-batch, as many at a time as fit one forward."""

    def __init__(
        self, bound: Bound, config: TextualInversionMethod | WeightedPromptsMethod
    ) -> None:
        self.bound = bound
        self._config = config
        self.at_once = max(1, bound.rows // config.batch_size)
        # A problem has many times; rows of results have the middle.
        self._t = bound.denoiser.schedule.snap(np.array([np.mean(config.t_range)]))

    @abstractmethod
    def problem(self, sample: Sample, draw: int, classes: Sequence[int]) -> P:
        """Return a problem at its start."""

    @abstractmethod
    def conditioning(self, problems: Sequence[P], step: int) -> tuple[Tensors, PullBack]:
        """Return c(theta) of each problem, one row each, and the function for its gradients."""

    @abstractmethod
    def scores(self, problem: P) -> torch.Tensor:
        """Return the classes' scores after the descent, (k,) float32."""

    @torch.no_grad()
    def score(self, units: Sequence[Unit]) -> list[UnitScores]:
        owners = [(unit, draw) for unit in units for draw in unit.draws]
        scores, n_steps = [], []
        for start in range(0, len(owners), self.at_once):
            some = owners[start : start + self.at_once]
            problems = [self.problem(unit.sample, draw, unit.classes) for unit, draw in some]
            self._descend(problems)
            scores += [self.scores(problem).cpu().numpy() for problem in problems]
            n_steps += [problem.n_steps for problem in problems]
        found, start, bound = [], 0, self.bound
        for unit in units:
            mine = slice(start, start + len(unit.draws))
            start = mine.stop
            t = np.repeat(self._t, len(unit.draws))
            n_evaluations = sum(n_steps[mine]) * self._config.batch_size
            found.append(UnitScores(np.stack(scores[mine]), bound.drawn(t), n_evaluations))
        return found

    def _descend(self, problems: list[P]) -> None:
        active = problems
        for step in range(self._config.steps):
            conditioning, pull_back = self.conditioning(active, step)
            losses, gradients = self.loss(active, step, conditioning)
            for problem, gradient in zip(active, pull_back(gradients), strict=True):
                problem.step(gradient)
            # Here the host waits for the device.
            active = [
                problem
                for problem, loss in zip(active, losses.tolist(), strict=True)
                if not problem.ended(loss)
            ]
            if not active:
                return

    def loss(
        self, problems: Sequence[P], step: int, conditioning: Tensors
    ) -> tuple[torch.Tensor, Tensors]:
        """Return the loss of each problem's batch, (P,), and the gradients in its conditioning."""
        size = self._config.batch_size
        t, noise, x_0 = self._pairs(problems, step)
        of_row = torch.arange(len(problems), device=x_0.device).repeat_interleave(size)
        losses, gradients = row_losses(
            self.bound, x_0, t, noise, {name: of[of_row] for name, of in conditioning.items()}
        )
        return losses.view(-1, size).mean(dim=1), {
            name: of.view(-1, size, *of.shape[1:]).mean(dim=1) for name, of in gradients.items()
        }

    def _pairs(
        self, problems: Sequence[P], step: int
    ) -> tuple[NDArray[np.float64], torch.Tensor, torch.Tensor]:
        """Return t (R,), eps and x_0 (R, C, H, W) of this step, problem by problem."""
        bound, config = self.bound, self._config
        of_step = range(step * config.batch_size, (step + 1) * config.batch_size)
        times, noise, x_0 = [], [], []
        for problem in problems:
            image_id, first = problem.sample.image_id, problem.first_number
            numbers = range(first + of_step.start, first + of_step.stop)
            times.append(draws.times(bound.seed, image_id, numbers, "stratified", config.t_range))
            noise.append(draws.noise(bound.seed, image_id, numbers, bound.denoiser.sample_shape))
            x_0.append(problem.x_0[[number % len(problem.x_0) for number in of_step]])
        t = bound.denoiser.schedule.snap(np.concatenate(times))
        device = bound.denoiser.device
        return t, torch.from_numpy(np.concatenate(noise)).to(device), torch.cat(x_0)


def row_losses(
    bound: Bound,
    x_0_RCHW: torch.Tensor,
    t_R: NDArray[np.float64],
    noise_RCHW: torch.Tensor,
    conditioning: Tensors,
) -> tuple[torch.Tensor, Tensors]:
    """Return the mean squared error of each row's eps, (R,) float32, and its gradients in each row
    of the conditioning's floats.

    The sum over x is differentiated, and divided afterwards: gradients of the mean over a large x
    are below the resolution of float16.
    """
    alpha, sigma = bound.alpha_sigma(t_R)
    x_t = alpha * x_0_RCHW + sigma * noise_RCHW
    floats = [name for name, of in conditioning.items() if of.is_floating_point()]
    losses, gradients = [], []
    for numbers in batches(len(t_R), bound.rows):
        mine = torch.from_numpy(numbers).to(x_t.device)
        rows = {name: of[mine] for name, of in conditioning.items()}
        leaves = [rows[name].requires_grad_() for name in floats]
        with torch.enable_grad():
            epsilon = bound.epsilon_with_gradient(x_t[mine], t_R[numbers], rows)
            squares = (epsilon - noise_RCHW[mine]).square().sum(dim=(1, 2, 3))
            gradients.append(torch.autograd.grad(squares.sum(), leaves, materialize_grads=True))
        losses.append(squares.detach())
    n, size = len(t_R), x_t[0].numel()
    return torch.cat(losses)[:n] / size, {
        name: torch.cat(parts)[:n].float() / size
        for name, parts in zip(floats, zip(*gradients, strict=True), strict=True)
    }
