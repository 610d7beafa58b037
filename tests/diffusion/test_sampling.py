"""Our samplers against diffusers' schedulers step by step, and against the distribution itself."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from tests.support.gaussian_denoiser import SCHEDULES, SHAPE, GaussianDenoiser
from zsd_ray.diffusion.sampling import sample, times
from zsd_ray.diffusion.schedule import DiscreteSchedule, KarrasSchedule

N_STEPS = 20
BETAS = np.linspace(0.01, 0.3, N_STEPS)


def normal(n=3, seed=0):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def network(x, time):
    """Any function of both."""
    return torch.sin(3 * x + time[:, None, None, None]) + 0.2 * x


def test_times_of_a_chain_are_the_librarys_trailing_ones():
    chain = SCHEDULES["vp"]
    for n_steps, difference in ((1, 0), (7, 1), (50, 0), (1000, 0)):  # the library rounds, we cut
        library = DDIMScheduler(timestep_spacing="trailing")
        library.set_timesteps(n_steps)
        ours = chain.steps(times(chain, n_steps))
        assert np.abs(ours - library.timesteps.numpy()).max() == difference
    with pytest.raises(ValueError, match="1001 steps"):
        times(chain, 1001)


def test_times_without_steps():
    sigmas = SCHEDULES["karras"].alpha_sigma(times(SCHEDULES["karras"], 9))[1]
    ramp = np.linspace(20.0 ** (1 / 7), 0.01 ** (1 / 7), 9) ** 7  # Karras et al. 2022, eq. 5
    np.testing.assert_allclose(sigmas, ramp)
    np.testing.assert_allclose(times(SCHEDULES["flow"], 4), [1, 0.75, 0.5, 0.25], atol=1e-8)


@pytest.mark.few(4)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_is_the_librarys(prediction, eta, clip):
    library = DDIMScheduler(
        trained_betas=BETAS,
        num_train_timesteps=N_STEPS,
        prediction_type=prediction,
        timestep_spacing="trailing",
        clip_sample=clip,
    )
    library.set_timesteps(5)
    x = start = normal()
    for i, step in enumerate(library.timesteps):
        output = network(x, torch.full((3,), float(step)))
        x = library.step(
            output, step, x, eta=eta, use_clipped_model_output=clip, variance_noise=normal(seed=i)
        ).prev_sample
    schedule = DiscreteSchedule.from_betas(BETAS)
    options = {"eta": eta, "clip": clip, "noise": lambda i: normal(seed=i)}
    ours = sample(network, schedule, prediction, start, 5, **options)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("clip", [False, True])
def test_ddpm_with_every_step_is_the_librarys(clip):
    library = DDPMScheduler(trained_betas=BETAS, num_train_timesteps=N_STEPS, clip_sample=clip)
    library.set_timesteps(N_STEPS)
    x = start = normal()
    generator = torch.Generator().manual_seed(5)
    for step in library.timesteps:
        output = network(x, torch.full((3,), float(step)))
        x = library.step(output, step, x, generator=generator).prev_sample
    generator = torch.Generator().manual_seed(5)
    ours = sample(
        network,
        DiscreteSchedule.from_betas(BETAS),
        "epsilon",
        start,
        N_STEPS,
        eta=1.0,
        clip=clip,
        noise=lambda i: torch.randn(start.shape, generator=generator),
    )
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_of_karras_levels_it_is_eulers_method():
    """Karras et al. 2022, algorithm 1 without churn and correction, in float64."""
    schedule = KarrasSchedule(0.01, 20.0)

    def denoised(x, time):
        return torch.tanh(x) * 0.8

    sigmas = [*schedule.alpha_sigma(times(schedule, 6))[1], 0.0]
    x = normal().double() * np.hypot(1.0, sigmas[0])
    for sigma, then in pairwise(sigmas):
        x = x + (then - sigma) * (x - denoised(x, None)) / sigma
    ours = sample(denoised, schedule, "sample", normal(), 6)
    torch.testing.assert_close(ours.double(), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_are_distributed_as_the_data(name, eta):
    """x_0 ~ N(mean, 0.5^2) in each number, of which the denoiser knows eps exactly."""
    eps_hat = GaussianDenoiser(SCHEDULES[name], std=0.5)
    mean = 0.3 * normal(1, seed=9)  # pure noise at t = 1, of which some chains keep 7 % of x_0
    noises = np.random.default_rng(3)
    shape = (1000, *SHAPE)

    def noise(_):
        return torch.from_numpy(noises.standard_normal(shape, dtype=np.float32))

    def predict(x, time):
        return eps_hat.predict(x, time, {"mean": mean.expand(len(x), -1, -1, -1)})

    x_0 = sample(predict, SCHEDULES[name], "epsilon", noise(0), 250, eta=eta, noise=noise)
    assert float((x_0.mean(0) - mean[0]).abs().max()) < 0.06
    assert float((x_0 - mean).std()) == pytest.approx(0.5, rel=0.04)
