"""The softmax fit: against a plain likelihood, one number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from zsd_ray.studies.calibration.softmax_fit import Softmax, fit


def plain_loss(coefficients, measures, labels, scored):
    """Minus the log-likelihood of the images whose label was scored, and of one label missed."""
    used = [i for i in range(len(labels)) if scored[i][labels[i]] and sum(scored[i]) > 1]
    total = missed = 0.0
    for i in used:
        classes = [k for k in range(len(scored[i])) if scored[i][k]]
        logits = {
            k: -sum(c * measures[f][i][k] for f, c in enumerate(coefficients)) for k in classes
        }
        log_sum = math.log(sum(math.exp(value) for value in logits.values()))
        log_p = logits[labels[i]] - log_sum
        total -= log_p
        missed += 1 - math.exp(log_p)
    return total - math.log(missed)


def made_up(seed=0, n=80, k=5, n_measures=2, share_scored=0.8):
    rng = np.random.default_rng(seed)
    measures = rng.normal(size=(n_measures, n, k)) * np.array([1.0, 0.3])[:n_measures, None, None]
    true = np.array([1.5, 4.0])[:n_measures]
    logits = -np.tensordot(true, measures, axes=1)
    labels = (logits + rng.gumbel(size=(n, k))).argmax(axis=1)
    scored = rng.random((n, k)) < share_scored
    scored[:, 0] = scored[:, 1] = True
    return measures, labels, scored


@pytest.mark.parametrize("n_measures", [1, 2])
def test_the_fit_is_the_least_of_a_plain_likelihood(n_measures: int) -> None:
    measures, labels, scored = made_up(n_measures=n_measures)
    arguments = (measures.tolist(), labels.tolist(), scored.tolist())
    found = minimize(
        plain_loss, np.ones(n_measures), arguments, method="Nelder-Mead", options={"xatol": 1e-7}
    )
    assert fit(measures, labels, scored).coefficients == pytest.approx(found.x, rel=1e-4)


def test_the_share_left_out_follows_laplace() -> None:
    _, labels, scored = made_up()
    partly = [i for i in range(len(labels)) if not all(scored[i])]
    missed = [i for i in partly if not scored[i][labels[i]]]
    assert 0 < len(missed) < len(partly) < len(labels)
    found = fit(*made_up())
    assert found.left_out == pytest.approx((len(missed) + 1) / (len(partly) + 2))
    assert found.n_left_out == len(partly)
    assert found.parameters == {"left_out": found.left_out}


def test_probabilities_are_a_plain_softmax_with_what_is_left_out() -> None:
    measures, _, scored = made_up(n=6)
    model = Softmax((1.5, 4.0), 0.3, 6)
    found = np.exp(model.log_probabilities(measures, scored))
    for i, row in enumerate(scored):
        odds = [math.exp(-1.5 * a - 4.0 * b) for a, b in zip(*measures[:, i], strict=True)]
        inside = sum(o for o, s in zip(odds, row, strict=True) if s)
        n_without = sum(not s for s in row)
        for k, is_scored in enumerate(row):
            share = 0.7 if n_without else 1.0
            expected = share * odds[k] / inside if is_scored else 0.3 / n_without
            assert found[i, k] == pytest.approx(expected)
    assert found.sum(axis=1) == pytest.approx(1)


def test_what_classes_without_draws_hold_does_not_matter() -> None:
    measures, labels, scored = made_up()
    blank = np.where(scored, measures, np.nan)
    model = fit(measures, labels, scored)
    assert fit(blank, labels, scored) == model
    assert np.array_equal(
        model.log_probabilities(blank, scored), model.log_probabilities(measures, scored)
    )


@pytest.mark.parametrize(("scale", "offset"), [(1e-9, 0.0), (1e9, 0.0), (1.0, 1e6), (1e-4, 30.0)])
def test_scales_and_what_an_image_shares_do_not_matter(scale: float, offset: float) -> None:
    measures, labels, scored = made_up(n_measures=1)
    shared = offset * np.random.default_rng(1).uniform(1, 2, (1, len(labels), 1))
    found = fit(scale * (measures + shared), labels, scored)
    plain = fit(measures, labels, scored)
    assert found.coefficients[0] * scale == pytest.approx(plain.coefficients[0], rel=1e-5)


def test_where_the_least_is_always_the_label_the_fit_ends() -> None:
    measures, _, _ = made_up(n_measures=1)
    scored = np.ones(measures.shape[1:], dtype=bool)
    labels = measures[0].argmin(axis=1)
    model = fit(measures, labels, scored)
    p = np.exp(model.log_probabilities(measures, scored))
    right = p[np.arange(len(labels)), labels]
    assert np.isfinite(model.coefficients[0])
    assert (1 - right).sum() == pytest.approx(1, abs=0.3)  # about one label is doubted


def test_measures_that_mislead_end_at_the_bound() -> None:
    measures, _, scored = made_up(n_measures=1, share_scored=1.0)
    model = fit(measures, measures[0].argmax(axis=1), scored)
    assert 0 < model.coefficients[0] < 1e-4
    assert np.exp(model.log_probabilities(measures, scored)) == pytest.approx(0.2, abs=1e-3)


def test_a_measure_that_tells_nothing_changes_nothing() -> None:
    measures, labels, scored = made_up(n_measures=1)
    rounding = np.random.default_rng(2).integers(-2, 3, measures.shape) * np.finfo(float).eps
    both = np.concatenate([measures, 0.8 + rounding])
    alone, together = fit(measures, labels, scored), fit(both, labels, scored)
    assert together.coefficients[0] == pytest.approx(alone.coefficients[0], rel=1e-6)
    assert together.log_probabilities(both, scored) == pytest.approx(
        alone.log_probabilities(measures, scored), abs=1e-5
    )


def test_images_whose_labels_had_no_draws_do_not_move_the_coefficients() -> None:
    measures, labels, scored = made_up(share_scored=1.0)
    more = np.concatenate([measures, measures[:, :10] * 7], axis=1)
    without = scored[:10].copy()
    without[np.arange(10), labels[:10]] = False
    together = fit(more, np.append(labels, labels[:10]), np.concatenate([scored, without]))
    assert together.coefficients == pytest.approx(fit(measures, labels, scored).coefficients)
    assert together.left_out == pytest.approx(11 / 12)
