"""Platt scaling: against a plain likelihood, and where it must not break."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from zsd_ray.studies.calibration.platt import Platt


def plain_loss(line, n_evaluations, correct):
    n_right = sum(correct)
    n_wrong = len(correct) - n_right
    total = 0.0
    for n, right in zip(n_evaluations, correct, strict=True):
        p = 1 / (1 + math.exp(-(line[0] + line[1] * math.log(n))))
        target = (n_right + 1) / (n_right + 2) if right else 1 / (n_wrong + 2)
        total -= target * math.log(p) + (1 - target) * math.log(1 - p)
    return total


def made_up(n=400, seed=0):
    rng = np.random.default_rng(seed)
    n_evaluations = rng.integers(100, 5000, n)
    correct = rng.random(n) < expit(9.0 - 1.2 * np.log(n_evaluations))
    return n_evaluations, correct


def test_the_fit_is_the_least_of_a_plain_likelihood() -> None:
    n_evaluations, correct = made_up()
    found = minimize(
        plain_loss,
        [0.0, 0.0],
        (n_evaluations.tolist(), correct.tolist()),
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 5000},
    )
    model = Platt.fit(n_evaluations, correct)
    assert [model.intercept, model.slope] == pytest.approx(found.x, rel=1e-4)
    assert model.parameters == {"intercept": model.intercept, "slope": model.slope}


def test_it_recovers_what_the_answers_were_drawn_from() -> None:
    model = Platt.fit(*made_up(n=40_000))
    assert model.slope == pytest.approx(-1.2, abs=0.05)
    at = np.array([200, 1000, 4000])
    assert expit(model.log_odds(at)) == pytest.approx(expit(9.0 - 1.2 * np.log(at)), abs=0.02)


def test_where_all_are_right_the_confidence_is_laplaces() -> None:
    n_evaluations, _ = made_up(n=98)
    model = Platt.fit(n_evaluations, np.ones(98, dtype=bool))
    assert expit(model.log_odds(n_evaluations)) == pytest.approx(99 / 100, abs=1e-4)


def test_where_cost_separates_right_from_wrong_the_fit_ends() -> None:
    n_evaluations = np.array([100, 110, 120, 900, 950, 990])
    model = Platt.fit(n_evaluations, n_evaluations < 500)
    confidence = expit(model.log_odds(n_evaluations))
    assert (confidence[:3] > 0.7).all()
    assert (confidence[3:] < 0.3).all()


@pytest.mark.parametrize("n_evaluations", [1000, 0])
def test_where_all_images_cost_the_same_the_slope_is_0(n_evaluations: int) -> None:
    correct = np.arange(10) < 7
    model = Platt.fit(np.full(10, n_evaluations), correct)
    targets = np.where(correct, 8 / 9, 1 / 5)
    assert model.slope == 0
    assert expit(model.log_odds([n_evaluations])) == pytest.approx(targets.mean(), abs=1e-6)
