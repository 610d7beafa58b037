"""Latents against a plain inversion of each row, distances by hand, and a planted answer."""

from itertools import pairwise

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
from zsd_ray.config.algorithms import DdimKnnMethod
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.methods.method import Sample, Unit
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.records.errors import UserError

N_CLASSES, N_TEMPLATES = 4, 2
CONFIG = DdimKnnMethod(level=0.7, steps=3, neighbours=2)


@pytest.fixture(scope="module")
def tiny(tiny_model):
    config = ModelConfig(path=str(tiny_model), device="cpu")
    names = ["cat", "dog", "bird", "fish"]
    prompts = [f"a {noun} of a {name}" for name in names for noun in ("photo", "drawing")]
    return load_model(config), encode_prompts(config, prompts)


def knn(tiny, rows=7, **keys):
    config = CONFIG.model_copy(update=keys)
    return made(bind(*tiny, N_CLASSES, N_TEMPLATES, rows), config)


def unit(denoiser, number, classes=(0, 1, 2, 3)):
    x_0 = torch.randn(denoiser.sample_shape, generator=torch.Generator().manual_seed(number))
    return Unit(Sample(f"image-{number}", x_0, torch.zeros(3, 16, 16)), range(1), classes)


def plain_latent(tiny, x_0, prompt, config):
    """Song et al. 2021, eq. 12 backwards, one row."""
    denoiser, conditioning = tiny
    schedule = denoiser.schedule
    hidden = torch.from_numpy(conditioning["hidden"][prompt])[None]
    # Even steps from the middle of the chain's first of 1,000 to that of the level's.
    span = schedule.snap(np.array([config.level])) - 5e-4
    times = [schedule.snap(5e-4 + span * i / config.steps) for i in range(config.steps + 1)]
    x = None
    for now, then in pairwise(times):
        (alpha,), (sigma,) = schedule.alpha_sigma(now)
        clean = x is None
        x = alpha * x_0[None].double() if clean else x
        time = torch.from_numpy(schedule.model_time(now)).float()
        eps = denoiser.predict(x.float(), time, {"hidden": hidden})
        image = x_0[None] if clean else (x - sigma * eps) / alpha
        (alpha,), (sigma,) = schedule.alpha_sigma(then)
        x = alpha * image + sigma * eps
    return x[0]


def plain_scores(tiny, unit, config):
    latents = [
        sum(
            plain_latent(tiny, unit.sample.x_0, k * N_TEMPLATES + template, config)
            for template in range(N_TEMPLATES)
        )
        / N_TEMPLATES
        for k in unit.classes
    ]
    scores = []
    for latent in latents:
        others = sorted(
            float((latent - other).square().sum().sqrt())
            for other in latents
            if other is not latent
        )
        nearest = others[: config.neighbours]
        distance = sum(nearest) / len(nearest)
        scores.append(distance if config.choose == "nearest" else -distance)
    return scores


@pytest.mark.few(2)
@torch.no_grad()
@pytest.mark.parametrize("choose", ["nearest", "outlier"])
@pytest.mark.parametrize("neighbours", [1, 2, 9])
def test_scores_are_those_of_a_plain_loop(tiny, choose, neighbours):
    """More neighbours than there are mean all of them."""
    units = [unit(tiny[0], 0), unit(tiny[0], 1, (1, 3))]
    keys = {"choose": choose, "neighbours": neighbours}
    config = CONFIG.model_copy(update=keys)
    for found, one in zip(knn(tiny, **keys).score(units), units, strict=True):
        assert found.scores.dtype == np.float32
        expected = plain_scores(tiny, one, config)
        np.testing.assert_allclose(found.scores, [expected], rtol=2e-3)
        assert len(set(found.scores[0].tolist())) > 1 or len(one.classes) == 2
        np.testing.assert_array_equal(found.draws.t, tiny[0].schedule.snap(np.array([0.7])))
        assert found.n_evaluations == len(one.classes) * N_TEMPLATES * 3


@torch.no_grad()
def test_company_changes_no_bit(tiny):
    scorer, units = knn(tiny, rows=5), [unit(tiny[0], n) for n in range(3)]
    together = scorer.score(units)
    for one, found in zip(units, together, strict=True):
        (alone,) = scorer.score([one])
        np.testing.assert_array_equal(alone.scores, found.scores)


@torch.no_grad()
def test_a_class_alone_scores_zero(tiny):
    scored = knn(tiny).score([unit(tiny[0], 0, (2,)), unit(tiny[0], 0)])
    assert scored[0].scores.tolist() == [[0.0]]
    assert (scored[1].scores != 0).all()


@torch.no_grad()
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_outlier_is_found(schedule):
    """Prompts that do not fit leave the image to what all classes have in common, and so agree; the
    one that fits moves it elsewhere. Such are classes of a Gaussian of their own or a common one.
    """
    means = class_means(6, size=2.0)
    denoiser = GaussianDenoiser(SCHEDULES[schedule], std=0.3, background=2.0)
    bound = bind(denoiser, {"mean": means}, 6)
    scorer = made(bound, DdimKnnMethod(steps=20, choose="outlier"))
    units = [Unit(sample_of(means[k], k, std=0.3), range(1), tuple(range(6))) for k in range(6)]
    scores = np.concatenate([found.scores for found in scorer.score(units)])
    assert scores.argmin(axis=1).tolist() == list(range(6))
    nearest = made(bound, DdimKnnMethod(steps=20, choose="nearest"))
    others = np.concatenate([found.scores for found in nearest.score(units)])
    np.testing.assert_array_equal(others, -scores)


@torch.no_grad()
def test_the_nearest_of_one_neighbour_is_always_one_of_two(tiny):
    """The two classes that are nearest to each other have the same distance."""
    (found,) = knn(tiny, neighbours=1, choose="nearest").score([unit(tiny[0], 3)])
    assert (found.scores == found.scores.min()).sum() == 2


def test_more_draws_than_one_are_refused():
    tree = {"method": {"name": "ddim-knn"}, "pruning": {"rule": "none", "draws": 3}}
    with pytest.raises(UserError, match=r"3 draws would be one and the same; set pruning"):
        with_defaults(parse_config(RunConfig, tree))
    tree["pruning"]["draws"] = 1
    assert with_defaults(parse_config(RunConfig, tree)).pruning.draws == 1
