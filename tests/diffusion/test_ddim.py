"""DDIM against its formula, against the flow's exact solution, and there and back again."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.support.gaussian_denoiser import SCHEDULES, SHAPE, chain
from tests.support.models import encode_prompts, load_model
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.ddim import denoise, grid, invert
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule

STD, LEVEL = 0.6, np.array([0.9, 0.7, 0.9])
# A chain of 1,000 steps has no even grid of 160: its rounding would hide the slope.
FINE = SCHEDULES | {"vp": chain(128_000)}


def normal(seed):
    return torch.randn(len(LEVEL), *SHAPE, generator=torch.Generator().manual_seed(seed))


MEAN = normal(0)


def column(values):
    return torch.from_numpy(np.asarray(values))[:, None, None, None]


def scales(schedule, t):
    return [column(of) for of in schedule.alpha_sigma(np.asarray(t))]


def gaussian(schedule, calls=None):
    """eps_hat where x_0 ~ N(MEAN, STD^2); it notes the times that it is told."""

    def epsilon(x, t):
        if calls is not None:
            calls.append(t)
        alpha, sigma = scales(schedule, t)
        return (sigma * (x - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2)).float()

    return epsilon


@pytest.mark.parametrize("name", SCHEDULES)
class TestSteps:
    def test_denoising_is_the_papers_update(self, name):
        """Song et al. 2021, eq. 12 with sigma = 0, in float64; the last step gives x_0 itself."""
        schedule = SCHEDULES[name]
        times = grid(schedule, LEVEL, 6)
        x = scales(schedule, times[-1])[1] * normal(1).double()
        ours = denoise(gaussian(schedule), schedule, x.float(), times)
        for now, then in zip(times[:0:-1], [*times[-2:0:-1], None], strict=True):
            alpha, sigma = scales(schedule, now)
            eps = gaussian(schedule)(x, now)
            x_0 = (x - sigma * eps) / alpha
            if then is None:
                x = x_0
            else:
                alpha, sigma = scales(schedule, then)
                x = alpha * x_0 + sigma * eps
        torch.testing.assert_close(ours.double(), x, rtol=1e-4, atol=1e-4)

    def test_inverting_is_the_same_update_upwards(self, name):
        schedule = SCHEDULES[name]
        times = grid(schedule, LEVEL, 6)
        ours = invert(gaussian(schedule), schedule, normal(2), times)
        x_0, x = normal(2).double(), None
        for number, (now, then) in enumerate(pairwise(times)):
            alpha, sigma = scales(schedule, now)
            if number == 0:
                eps = gaussian(schedule)(alpha * x_0, now)
            else:
                eps = gaussian(schedule)(x, now)
                x_0 = (x - sigma * eps) / alpha
            alpha, sigma = scales(schedule, then)
            x = alpha * x_0 + sigma * eps
        torch.testing.assert_close(ours.double(), x, rtol=1e-4, atol=1e-4)

    def test_n_steps_are_n_evaluations(self, name):
        """Down from the level, not at the least time; up from the least time, not at the level."""
        schedule, down, up = SCHEDULES[name], [], []
        times = grid(schedule, LEVEL, 5)
        denoise(gaussian(schedule, down), schedule, normal(1), times)
        np.testing.assert_array_equal(down, times[:0:-1])
        invert(gaussian(schedule, up), schedule, normal(1), times)
        np.testing.assert_array_equal(up, times[:-1])

    def test_one_step_of_denoising_is_the_estimate_of_x_0(self, name):
        schedule = SCHEDULES[name]
        times = grid(schedule, LEVEL, 1)
        x = normal(1)
        alpha, sigma = scales(schedule, times[-1])
        expected = (x - sigma * gaussian(schedule)(x, times[-1])) / alpha
        ours = denoise(gaussian(schedule), schedule, x, times)
        torch.testing.assert_close(ours, expected.float(), rtol=1e-4, atol=1e-4)


def slope(error):
    """Of log error against log steps."""
    steps = [16, 32, 64, 128]
    errors = [error(n) for n in steps]
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def stretched(y, level_from, level_to):
    """The flow's exact solution for N(MEAN, STD^2): y - mean grows as sqrt(STD^2 + lambda^2)."""
    return MEAN + (y - MEAN) * ((STD**2 + level_to**2) / (STD**2 + level_from**2)).sqrt()


@pytest.mark.parametrize("name", FINE)
class TestOrder:
    """Euler's steps: twice as many, half the error."""

    def test_there_and_back_returns_the_image(self, name):
        schedule, x_0 = FINE[name], normal(2)

        def error(n):
            times = grid(schedule, LEVEL, n)
            there = invert(gaussian(schedule), schedule, x_0, times)
            return (denoise(gaussian(schedule), schedule, there, times) - x_0).abs().mean()

        assert slope(error) == pytest.approx(-1, abs=0.15)
        assert error(128) < 0.05

    def test_inversion_comes_to_the_exact_latent(self, name):
        schedule, x_0 = FINE[name], normal(2).double()

        def error(n):
            times = grid(schedule, LEVEL, n)
            alpha, sigma = scales(schedule, times[-1])
            exact = stretched(x_0, torch.zeros_like(sigma), sigma / alpha)
            ours = invert(gaussian(schedule), schedule, x_0.float(), times)
            return (ours / alpha - exact).abs().mean()

        assert slope(error) == pytest.approx(-1, abs=0.15)

    def test_denoising_comes_to_the_exact_image(self, name):
        schedule, x_t = FINE[name], normal(2).double()

        def error(n):
            times = grid(schedule, LEVEL, n)
            alpha, sigma = scales(schedule, times[-1])
            exact = stretched(x_t / alpha, sigma / alpha, torch.zeros_like(sigma))
            ours = denoise(gaussian(schedule), schedule, x_t.float(), times)
            return (ours - exact).abs().mean()

        assert slope(error) == pytest.approx(-1, abs=0.15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_grid_rises_from_the_least_time_to_each_rows_level(name):
    schedule = SCHEDULES[name]
    times = grid(schedule, np.array([0.5, 0.9]), 10)
    assert times.shape == (11, 2)
    np.testing.assert_array_equal(times, schedule.snap(times))
    np.testing.assert_allclose(times[-1], schedule.snap(np.array([0.5, 0.9])))
    np.testing.assert_allclose(times[5], [0.25, 0.45], atol=1e-3)
    np.testing.assert_allclose(times[0], 5e-4)
    assert (np.diff(times, axis=0) > 0).all()


def test_a_short_chain_visits_some_steps_twice_and_nothing_changes():
    schedule = DiscreteSchedule(np.array([0.9, 0.7, 0.4, 0.1]))
    level = np.full(len(LEVEL), 0.9)
    times = grid(schedule, level, 12)
    np.testing.assert_array_equal(np.unique(times), [0.125, 0.375, 0.625, 0.875])
    once = np.repeat(np.unique(times)[[0, 0, 1, 2, 3], None], len(LEVEL), axis=1)
    for walk in (denoise, invert):
        many = walk(gaussian(schedule), schedule, normal(1), times)
        torch.testing.assert_close(many, walk(gaussian(schedule), schedule, normal(1), once))


def test_a_network_that_predicts_x_0_can_be_inverted_where_time_0_has_no_noise():
    schedule = FlowSchedule(1.0)

    def epsilon(x, t):
        alpha, sigma = scales(schedule, t)
        return to_epsilon(0.5 * x, x, alpha.float(), sigma.float(), "sample")

    assert invert(epsilon, schedule, normal(1), grid(schedule, LEVEL, 4)).isfinite().all()


@pytest.mark.full
def test_the_digits_models_inversion_leads_back():
    config = ModelConfig(device="cpu")
    denoiser = load_model(config)
    prompts = ["a photo of the digit three.", "a photo of the digit eight."]
    hidden = torch.from_numpy(encode_prompts(config, prompts)["hidden"])
    schedule = denoiser.schedule
    ramp = torch.linspace(-1, 1, denoiser.image_size)
    x_0 = denoiser.encode_images(ramp.outer(ramp).expand(2, 3, -1, -1))

    @torch.no_grad()
    def epsilon(x, t):
        time = torch.from_numpy(schedule.model_time(t)).float()
        return denoiser.predict(x, time, {"hidden": hidden})

    def error(n):
        times = grid(schedule, np.array([0.5, 0.5]), n)
        there = invert(epsilon, schedule, x_0, times)
        back = denoise(epsilon, schedule, there, times)
        return float((back - x_0).norm() / x_0.norm())

    few, many = error(5), error(30)
    assert few > 3 * many
    assert many < 0.1
