"""Denoisers whose answer is known in closed form, and a denoiser bound to its classes.

Each class's images are x_0 ~ N(mean, std^2) in every number, or, with a background, that or
N(0, background^2) with equal odds. The conditioning is the mean itself.
"""

from __future__ import annotations

import numpy as np
import torch

from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule
from zsd_ray.methods.method import Bound, Sample
from zsd_ray.models.rows import plain_rows

SHAPE = (2, 4, 4)


def chain(n_steps=1000):
    """Stable Diffusion's noise levels, in any number of steps."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    log_kept = np.concatenate([[0.0], np.log1p(-betas).cumsum()])
    at = np.interp(np.arange(1, n_steps + 1) * 1000 / n_steps, np.arange(1001), log_kept)
    return DiscreteSchedule(np.exp(at))


SCHEDULES = {"vp": chain(), "karras": KarrasSchedule(0.01, 20.0), "flow": FlowSchedule(1.0)}


class GaussianDenoiser:
    """A `Denoiser` of pixels that predicts eps; it notes how many rows it was given."""

    parametrisation = "epsilon"
    image_size = 4
    sample_shape = SHAPE
    device = torch.device("cpu")

    def __init__(self, schedule, std=0.5, background=None):
        self.schedule = schedule
        self._std, self._background = std, background
        self.n_rows = 0

    def predict(self, x, time, conditioning):
        self.n_rows += len(x)
        alpha, sigma = (
            torch.from_numpy(of.astype(np.float32))[:, None, None, None]
            for of in self.schedule.alpha_sigma(self._t(time.double().numpy()))
        )
        mean = conditioning["mean"]
        own = self._parts(x, alpha, sigma, mean, self._std)
        if self._background is None:
            return own[1]
        other = self._parts(x, alpha, sigma, torch.zeros_like(mean), self._background)
        odds = torch.sigmoid(own[0] - other[0])[:, None, None, None]
        return odds * own[1] + (1 - odds) * other[1]

    def _parts(self, x, alpha, sigma, mean, std):
        """log N(x; alpha mean, alpha^2 std^2 + sigma^2), (B,), and -sigma times its gradient."""
        variance = alpha**2 * std**2 + sigma**2
        off = x - alpha * mean
        log_density = (-(off**2) / variance - variance.log()).sum(dim=(1, 2, 3)) / 2
        return log_density, sigma * off / variance

    def _t(self, time):
        if isinstance(self.schedule, DiscreteSchedule):
            return (time + 0.5) / self.schedule.n_steps
        if isinstance(self.schedule, FlowSchedule):
            return time
        low, high = (s ** (1 / 7.0) for s in (self.schedule.sigma_min, self.schedule.sigma_max))
        return (time ** (1 / 7.0) - low) / (high - low)


def bind(denoiser, conditioning, n_classes, n_templates=1, rows=7, seed=5):
    """As a worker binds it; more rows of conditioning than prompts are the empty prompt's."""
    rows_of = {name: torch.as_tensor(of) for name, of in conditioning.items()}
    return Bound(
        denoiser=denoiser,
        conditioning=rows_of,
        names=[f"class {k}" for k in range(n_classes)],
        templates=[f"template {j} of {{}}" for j in range(n_templates)],
        network=plain_rows(denoiser, rows_of),
        rows=rows,
        seed=seed,
        prompt_encoder=lambda: None,
    )


def class_means(n_classes, size=1.0):
    """(K, *SHAPE), of the same length each."""
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(n_classes, *SHAPE, generator=generator)
    return size * means / means.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


def sample_of(mean, number, std=0.5):
    """An image of the class with this mean."""
    generator = torch.Generator().manual_seed(number)
    x_0 = mean + std * torch.randn(SHAPE, generator=generator)
    return Sample(f"image-{number}", x_0, torch.zeros(3, 4, 4))
