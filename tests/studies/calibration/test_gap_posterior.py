"""The posterior from gaps: its formula against Bayes by brute force, its fit, and elimination."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import norm

from tests.support.labelled_scores import LabelledScores, evidence_of
from zsd_ray.rules.clark_jaini import ClarkJaini
from zsd_ray.rules.every_draw import EveryDraw
from zsd_ray.stats import reliability
from zsd_ray.stats.moderation import NOTHING, Prior
from zsd_ray.studies.calibration.evidence import Evidence
from zsd_ray.studies.calibration.gap_posterior import (
    GapPosterior,
    squared_errors,
    variance_beyond_errors,
)
from zsd_ray.studies.calibration.softmax_fit import Softmax
from zsd_ray.studies.calibration.temperature import Temperature


def evidence(gaps, gap_errors, draws, prediction=0) -> Evidence:
    """One image."""
    gaps = np.atleast_2d(np.asarray(gaps, dtype=np.float64))
    return Evidence(
        mean_scores=gaps,
        gaps=gaps,
        gap_errors=np.atleast_2d(np.asarray(gap_errors, dtype=np.float64)),
        draws=np.atleast_2d(np.asarray(draws)),
        predictions=np.array([prediction]),
        n_evaluations=np.atleast_2d(np.asarray(draws)).sum(axis=1),
    )


def posterior(mu, tau, shift, prior=NOTHING) -> GapPosterior:
    """Of the model in the module's docstring, with D = shift."""
    temperature, centre = tau**2 / shift, mu - shift / 2
    return GapPosterior(prior, tau**2, Softmax((1 / temperature, centre / temperature), 0.5, 0))


MU, TAU, SHIFT = 1.1, 0.6, 0.9
GAPS = np.array([0.0, 0.25, 0.9, 1.4])
ERRORS = np.array([0.0, 0.3, 0.8, 2.0])
# Half of the least squared error is the prediction's own; the others have the rest of theirs.
V = np.where(GAPS == 0, 0.3**2 / 2, ERRORS**2 - 0.3**2 / 2)


def found() -> np.ndarray:
    model = posterior(MU, TAU, SHIFT)
    return np.exp(model.log_probabilities(evidence(GAPS, ERRORS, [50, 50, 9, 5])))[0]


def test_the_formula_is_bayes_with_the_true_means_integrated_out() -> None:
    # P(gaps | label k) as the mean over a million draws of the true means.
    rng = np.random.default_rng(0)
    usual = MU + TAU * rng.standard_normal(1_000_000)
    wrong = [norm.pdf(x, usual, np.sqrt(v)).mean() for x, v in zip(GAPS, V, strict=True)]
    right = [norm.pdf(x, usual - SHIFT, np.sqrt(v)).mean() for x, v in zip(GAPS, V, strict=True)]
    ratio = np.array(right) / np.array(wrong)
    assert found() == pytest.approx(ratio / ratio.sum(), rel=0.01)


def test_the_formula_is_the_mean_odds_over_what_is_known_of_the_true_gap() -> None:
    # exp(-m / T), each m from its posterior given the gap: prior times likelihood, by weighting.
    rng = np.random.default_rng(1)
    temperature = TAU**2 / SHIFT
    m = MU + TAU * rng.standard_normal(1_000_000)
    odds = np.array(
        [
            np.average(np.exp(-m / temperature), weights=norm.pdf(x, m, np.sqrt(v)))
            for x, v in zip(GAPS, V, strict=True)
        ]
    )
    assert found() == pytest.approx(odds / odds.sum(), rel=0.02)


def test_exact_gaps_give_a_softmax() -> None:
    model = posterior(MU, TAU, SHIFT)
    p = np.exp(model.log_probabilities(evidence(GAPS, np.zeros(4), [9] * 4)))[0]
    expected = np.exp(-GAPS * SHIFT / TAU**2)
    assert p == pytest.approx(expected / expected.sum())


def test_a_near_tie_is_shared() -> None:
    model = posterior(MU, TAU, SHIFT)
    p = np.exp(model.log_probabilities(evidence([0.0, 1e-9, 2.0], [0, 0.5, 0.5], [40] * 3)))[0]
    assert p[0] == pytest.approx(p[1], rel=1e-6)


def test_an_error_never_lifts_a_class_over_the_prediction() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        k = int(rng.integers(2, 30))
        gaps = np.append(0.0, rng.exponential(1.0, k - 1))
        errors = np.append(0.0, rng.lognormal(0.0, 2.0, k - 1))
        model = GapPosterior(
            NOTHING, rng.exponential(), Softmax((rng.exponential(), rng.exponential()), 0.5, 0)
        )
        logs = model.log_probabilities(evidence(gaps, errors, np.full(k, 7)))[0]
        assert logs.argmax() == 0 or logs[0] == pytest.approx(logs.max())


def test_a_thousand_classes_that_fell_early_hold_no_silly_mass() -> None:
    # Each fell at 3.5 standard errors. Without a prior each is better than the prediction with
    # probability 2e-4, or gains exp(v / 2 T^2): together nearly all of the mass.
    rng = np.random.default_rng(3)
    gaps = np.append(0.0, rng.normal(3.0, 0.6, 999).clip(0.5))
    errors = np.append(0.0, gaps[1:] / 3.5)
    model = posterior(3.0, 0.6, 3.0)
    p = np.exp(model.log_probabilities(evidence(gaps, errors, np.full(1000, 5))))[0]
    assert p[0] > 0.99
    temperature = 0.6**2 / 3.0
    flat = np.exp(-gaps / temperature + errors**2 / (2 * temperature**2))
    assert flat[0] / flat.sum() < 1e-3


def test_errors_are_moderated_one_by_one() -> None:
    errors, draws = [0.0, 0.3, np.nan, 0.1], [20, 6, 1, 0]
    prior = Prior(4.0, 2.5)
    squared = squared_errors(evidence([0.0, 1.0, 1.5, np.nan], errors, draws), prior)[0]
    of_six = (4.0 * 2.5 + 5 * (6 * 0.3**2)) / 9 / 6
    assert squared == pytest.approx([0.0, of_six, 2.5, 0.0])


def test_errors_that_nobody_knows_count_as_none() -> None:
    one_draw = evidence([0.0, 1.0, 1.5], [np.nan] * 3, [1] * 3)
    assert squared_errors(one_draw, NOTHING).tolist() == [[0.0, 0.0, 0.0]]


def test_variance_beyond_errors_is_recovered_whatever_the_errors() -> None:
    rng = np.random.default_rng(4)
    squared = rng.lognormal(-1.0, 1.5, 20_000)
    gaps = rng.normal(2.0, 0.7, 20_000) + rng.normal(0, np.sqrt(squared))
    assert variance_beyond_errors(gaps, squared) == pytest.approx(0.7**2, rel=0.05)
    grid = np.linspace(0.3, 0.7, 81)

    def plain(spread):
        weights = 1 / (spread + squared)
        mu = (weights * gaps).sum() / weights.sum()
        return -norm.logpdf(gaps, mu, np.sqrt(spread + squared)).sum()

    best = grid[np.argmin([plain(spread) for spread in grid])]
    assert variance_beyond_errors(gaps, squared) == pytest.approx(best, abs=0.006)


def test_gaps_that_are_all_alike() -> None:
    assert variance_beyond_errors(np.full(5, 0.3), np.ones(5)) == 1.0
    assert variance_beyond_errors(np.zeros(0), np.zeros(0)) == 1.0


def test_with_one_draw_each_it_is_the_temperature_alone() -> None:
    images = LabelledScores.draw((300, 1, 5), temperature=0.5, noise=0.5)
    known = evidence_of(images.decisions(EveryDraw(1)))
    of_gaps, of_means = (cls.fit(known, images.labels) for cls in (GapPosterior, Temperature))
    assert of_gaps.parameters["temperature"] == pytest.approx(
        of_means.parameters["temperature"], rel=1e-4
    )
    assert of_gaps.log_probabilities(known) == pytest.approx(
        of_means.log_probabilities(known), abs=1e-3
    )


@lru_cache
def simulated_elimination():
    images = LabelledScores.draw((1600, 60, 10), temperature=0.15, noise=1.5, seed=5)
    known = evidence_of(images.decisions(ClarkJaini(3, 60, 2e-3)))
    assert known.draws.min() < 10 < known.draws.max()
    return known, images.labels


@pytest.mark.full
def test_under_elimination_it_is_calibrated_and_better_than_a_temperature() -> None:
    known, labels = simulated_elimination()
    fit, test = slice(0, 800), slice(800, 1600)
    loss = {}
    for method in (GapPosterior, Temperature):
        model = method.fit(known.select(fit), labels[fit])
        logs = model.log_probabilities(known.select(test))
        loss[method] = reliability.log_loss(logs, labels[test])
        assert np.exp(logs).sum(axis=1) == pytest.approx(1)
        if method is GapPosterior:
            predictions = known.predictions[test]
            confidence = np.exp(logs[np.arange(800), predictions])
            correct = predictions == labels[test]
            numbers = reliability.equal_width(confidence)
            error = reliability.calibration_error(confidence, correct, numbers)
            assert error < 2 * reliability.error_by_chance(confidence, numbers)
            assert confidence.mean() == pytest.approx(correct.mean(), abs=0.03)
    gain = loss[Temperature] - loss[GapPosterior]
    assert gain.mean() > 5 * gain.std() / np.sqrt(800)
    assert gain.mean() > 0.1


def test_the_fit_does_not_depend_on_the_scale_of_scores() -> None:
    known, labels = simulated_elimination()
    known, labels = known.select(slice(0, 300)), labels[:300]
    scaled = replace(known, gaps=known.gaps * 1e-6, gap_errors=known.gap_errors * 1e-6)
    one, other = GapPosterior.fit(known, labels), GapPosterior.fit(scaled, labels)
    assert other.log_probabilities(scaled) == pytest.approx(one.log_probabilities(known), abs=1e-3)
    for name in ("temperature", "centre", "spread"):
        assert other.parameters[name] == pytest.approx(1e-6 * one.parameters[name], rel=1e-3)


def test_where_all_predictions_are_right_the_fit_ends() -> None:
    known, _ = simulated_elimination()
    known = known.select(slice(0, 200))
    model = GapPosterior.fit(known, known.predictions)
    p = np.exp(model.log_probabilities(known))
    confidence = p[np.arange(200), known.predictions]
    assert all(np.isfinite(value) for value in model.parameters.values())
    assert (1 - confidence).sum() == pytest.approx(1, abs=0.5)
