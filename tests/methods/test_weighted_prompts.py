"""Mixtures of which the best is known, the projection, and the built-in model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zsd_ray
from tests.support.digit_runs import configure
from tests.support.gaussian_denoiser import SCHEDULES, SHAPE, GaussianDenoiser
from tests.support.learning import N_CLASSES, bound_of, slow_projection, unit
from tests.support.methods import made
from zsd_ray.config.algorithms import WeightedPromptsMethod
from zsd_ray.methods.weighted_prompts import onto_simplex


def showing(bound, weights, number):
    """An image that is just this mixture of the classes' images."""
    means = bound.conditioning["mean"].view(N_CLASSES, -1, *SHAPE).mean(dim=1)
    one = unit(number)
    x_0 = torch.einsum("k,kchw->chw", torch.tensor(weights), means)
    return replace(one, sample=replace(one.sample, x_0=x_0))


@pytest.mark.few(1)
@pytest.mark.parametrize("constraint", ["softmax", "simplex"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_image_that_is_a_mixture_has_its_weights(constraint, schedule):
    bound = bound_of(32, GaussianDenoiser(SCHEDULES[schedule], std=1.0))
    planted = [[0.6, 0.3, 0.1, 0.0], [0.0, 0.25, 0.0, 0.75], [0.05, 0.05, 0.9, 0.0]]
    rate = 0.1 if constraint == "softmax" else 0.01
    config = WeightedPromptsMethod(
        steps=200, batch_size=8, learning_rate=rate, tolerance=0, constraint=constraint
    )
    units = [showing(bound, weights, number) for number, weights in enumerate(planted)]
    for of, weights in zip(made(bound, config).score(units), planted, strict=True):
        found = -of.scores[0]
        assert found.sum() == pytest.approx(1, abs=1e-5)
        assert found.min() >= 0
        np.testing.assert_allclose(found, weights, atol=0.08)
        assert of.scores[0].argmin() == np.argmax(weights)


def test_an_image_ends_at_a_tenth_step_when_its_weights_rest():
    bound = bound_of(32)
    one = showing(bound, [0.0, 1.0, 0.0, 0.0], 0)
    config = WeightedPromptsMethod(
        steps=500, constraint="simplex", learning_rate=0.03, tolerance=0.0, batch_size=8
    )
    (found,) = made(bound, config).score([one])
    steps = found.n_evaluations // 8
    assert (steps % 10, steps < 500) == (0, True)
    # At rest in a corner: they would have been the same ten steps ago.
    assert found.scores[0].tolist() == [0, -1, 0, 0]
    sooner = config.model_copy(update={"steps": steps - 10})
    (before,) = made(bound, sooner).score([one])
    np.testing.assert_array_equal(before.scores, found.scores)
    (never,) = made(bound, sooner.model_copy(update={"steps": 9})).score([one])
    assert never.n_evaluations == 9 * 8


def test_whole_numbers_are_the_largest_of_any_prompt():
    class Masked(GaussianDenoiser):
        def predict(self, x, time, conditioning):
            masks.append(conditioning["mask"])
            return super().predict(x, time, conditioning)

    masks = []
    bound = bound_of(8, Masked(SCHEDULES["vp"]))
    of_prompt = torch.eye(2 * N_CLASSES, dtype=torch.int64)
    bound = replace(bound, conditioning={**bound.conditioning, "mask": of_prompt})
    units = [unit(0), unit(1, classes=(0, 3))]
    made(bound, WeightedPromptsMethod(steps=1)).score(units)
    (rows,) = masks
    assert rows.dtype == torch.int64
    assert rows[:4].tolist() == [[1] * 8] * 4
    assert rows[4:].tolist() == [[1, 1, 0, 0, 0, 0, 1, 1]] * 4


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=12))
def test_the_projection_is_the_nearest_point_of_the_simplex(numbers):
    v = torch.tensor(numbers)
    found = onto_simplex(v)
    assert found.dtype == v.dtype
    torch.testing.assert_close(found, slow_projection(v), rtol=0, atol=1e-6)


@pytest.mark.parametrize("numbers", [[0.25, 0.75, 0.0], [1.0], [1.0, 1.0, 1.0], [9.0, -9.0]])
def test_projections_that_are_known(numbers):
    wanted = {3.0: [1 / 3] * 3, 0.0: [1.0, 0.0]}.get(sum(numbers), numbers)
    torch.testing.assert_close(onto_simplex(torch.tensor(numbers)), torch.tensor(wanted))


def test_the_built_in_model_is_right_about_most_digits(tmp_path):
    config = configure(
        tmp_path / "run",
        data={"limit": 8},
        method={"name": "weighted-prompts", "steps": 10, "tolerance": 0},
        pruning={"rule": "none", "draws": 1},
        cluster={"batch_size": 32},
    )
    result = zsd_ray.run(config, local=True)
    rows = result.table.to_pylist()
    assert sum(row["prediction"] == row["label"] for row in rows) >= 7
    for row in rows:
        assert row["n_evaluations"] == 40
        assert -sum(row["mean_scores"]) == pytest.approx(1, abs=1e-5)
