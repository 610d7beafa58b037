"""Algorithms 3 and 4 against a plain loop over one image, and a planted answer."""

import numpy as np
import pytest
import torch

from tests.support.gaussian_denoiser import (
    SCHEDULES,
    GaussianDenoiser,
    bind,
    class_means,
    sample_of,
)
from tests.support.methods import made
from tests.support.models import encode_prompts, load_model
from zsd_ray.config.algorithms import NoiseDenoiseMethod, NoiseDenoiseVoteMethod
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.diffusion import draws
from zsd_ray.methods.method import Sample, Unit, texts
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.records.errors import UserError
from zsd_ray.rules.vote import Vote

PROMPTS = ["a photo of a cat.", "a photo of a dog.", "a drawing of a dog"]
VOTE = NoiseDenoiseVoteMethod(levels=[0.3, 0.8], steps=3)


@pytest.fixture(scope="module")
def config(tiny_model):
    return ModelConfig(path=str(tiny_model), device="cpu")


@pytest.fixture(scope="module")
def denoiser(config):
    return load_model(config)


def make(config, denoiser, method):
    conditioning = encode_prompts(config, texts(PROMPTS, method))
    return bind(denoiser, conditioning, len(PROMPTS))


def plain_score(bound, method, sample, number, k):
    """Noise, DDIM as in Song et al. 2021, eq. 12, and the squared difference: in float64."""
    schedule, levels = bound.denoiser.schedule, method.noise_levels
    eps = draws.noise(bound.seed, sample.image_id, range(number, number + 1), sample.x_0.shape)
    level = levels[number % len(levels)]
    # Even steps from the middle of the chain's first of 1,000 to that of the level's.
    span = schedule.snap(np.array([level])) - 5e-4
    times = [schedule.snap(5e-4 + span * i / method.steps) for i in range(method.steps, 0, -1)]
    (alpha,), (sigma,) = schedule.alpha_sigma(times[0])
    x = alpha * sample.x_0.double()[None] + sigma * torch.from_numpy(eps).double()
    for now, then in zip(times, [*times[1:], None], strict=True):
        (alpha,), (sigma,) = schedule.alpha_sigma(now)
        time = torch.from_numpy(schedule.model_time(now)).float()

        def epsilon(prompt, x=x, time=time):
            hidden = bound.conditioning["hidden"][prompt][None]
            return bound.denoiser.predict(x.float(), time, {"hidden": hidden}).double()

        # Ho & Salimans 2022, eq. 6, where their w is our scale less 1.
        scale = method.guidance_scale
        eps_hat = scale * epsilon(k) - (scale - 1) * epsilon(-1) if scale != 1 else epsilon(k)
        image = (x - sigma * eps_hat) / alpha
        if then is None:
            return float((image - sample.x_0).square().mean())
        (alpha,), (sigma,) = schedule.alpha_sigma(then)
        x = alpha * image + sigma * eps_hat
    raise AssertionError


def counted(bound):
    """Rows of every call of the network."""
    rows, network = [], bound.network

    def count(x, time, draw, prompt):
        rows.append(len(draw))
        return network(x, time, draw, prompt)

    object.__setattr__(bound, "network", count)
    return rows


@pytest.mark.few(2)
@torch.no_grad()
@pytest.mark.parametrize("method", [
    NoiseDenoiseMethod(level=0.6, steps=4),
    NoiseDenoiseMethod(level=0.6, steps=1),
    NoiseDenoiseMethod(level=0.6, steps=3, guidance_scale=2.5),
    VOTE,
], ids=["plain", "one step", "guided", "vote"])  # fmt: skip
def test_scores_are_those_of_a_plain_loop(config, denoiser, method):
    bound = make(config, denoiser, method)
    generator = torch.Generator().manual_seed(4)
    x_0 = torch.randn(denoiser.sample_shape, generator=generator)
    sample = Sample("an image", x_0, torch.zeros(3, 16, 16))
    rows = counted(bound)
    (found,) = made(bound, method).score([Unit(sample, range(1, 4), (0, 2))])
    called = sum(rows)
    expected = [[plain_score(bound, method, sample, n, k) for k in (0, 2)] for n in range(1, 4)]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-3)
    level = [method.noise_levels[n % len(method.noise_levels)] for n in range(1, 4)]
    np.testing.assert_array_equal(found.draws.t, denoiser.schedule.snap(np.array(level)))
    # What it says it cost, what the plan says it will, and how often the network ran: a batch of 7
    # has one row of padding.
    per_score, per_draw = method.evaluations(len(PROMPTS))
    assert found.n_evaluations == 6 * per_score + per_draw
    assert called == 7 * per_score


@torch.no_grad()
def test_guidance_of_zero_knows_no_class_and_of_one_needs_no_empty_prompt(config, denoiser):
    unguided = NoiseDenoiseMethod(level=0.6, steps=2)
    assert texts(PROMPTS, unguided) == PROMPTS
    null = NoiseDenoiseMethod(level=0.6, steps=2, guidance_scale=0.0)
    assert texts(PROMPTS, null) == [*PROMPTS, ""]
    x_0 = torch.randn(denoiser.sample_shape, generator=torch.Generator().manual_seed(4))
    unit = Unit(Sample("an image", x_0, torch.zeros(3, 16, 16)), range(1), (0, 1, 2))
    (found,) = made(make(config, denoiser, null), null).score([unit])
    assert np.ptp(found.scores) == 0
    (found,) = made(make(config, denoiser, unguided), unguided).score([unit])
    assert np.ptp(found.scores) > 0


@torch.no_grad()
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_planted_class_is_found(schedule):
    """Every class is a Gaussian; an image of one is drawn to its mean, and to others' means."""
    means = class_means(5)
    bound = bind(GaussianDenoiser(SCHEDULES[schedule]), {"mean": means}, 5, rows=32)
    classes = tuple(range(5))
    units = [Unit(sample_of(means[k], k), range(4), classes) for k in classes]
    method = NoiseDenoiseMethod(level=0.7, steps=8)
    scores = [found.scores.mean(axis=0) for found in made(bound, method).score(units)]
    assert [int(of.argmin()) for of in scores] == list(classes)
    method = NoiseDenoiseVoteMethod(levels=[0.6, 0.7], steps=8)
    rule = Vote(levels=2, draws=4)
    verdicts = [rule.look(found.scores, 0) for found in made(bound, method).score(units)]
    assert [int(verdict.ranking[0]) for verdict in verdicts] == list(classes)


@pytest.mark.parametrize(("method", "levels"), [
    ({"name": "noise-denoise-vote", "levels": [0.2, 0.4, 0.6]}, 2),
    ({"name": "noise-denoise"}, 4),
])  # fmt: skip
def test_a_vote_of_other_levels_than_the_methods_is_refused(method, levels):
    tree = {"method": method, "pruning": {"rule": "vote", "levels": levels, "draws": 12}}
    with pytest.raises(UserError, match=f"pruning.levels {levels}"):
        with_defaults(parse_config(RunConfig, tree))
    levels = len(method.get("levels", [0]))
    tree["pruning"]["levels"] = levels
    assert with_defaults(parse_config(RunConfig, tree)).pruning.levels == levels


def test_times_are_inside_the_unit_interval():
    for level in (0, 1):
        with pytest.raises(UserError, match=r"method\.level"):
            parse_config(RunConfig, {"method": {"name": "noise-denoise", "level": level}})
