"""Each weighting is held against its definition on the error that its paper weights."""

import numpy as np
import pytest
import torch

from tests.diffusion.test_schedule import SCHEDULE
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.time_profile import FittedOn, TimeProfile
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.diffusion.schedule import FlowSchedule, KarrasSchedule
from zsd_ray.diffusion.weighting import TRAINING_LOSS, WEIGHTINGS, weights

T = (np.arange(20, 980, 7) + 0.5) / 1000


@pytest.mark.parametrize("loss", ["l2", "l1"])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_are_positive_finite_and_elementwise(name, loss):
    weights = WEIGHTINGS[name](SCHEDULE, T, loss)
    assert weights.shape == T.shape
    assert weights.dtype == np.float64
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    each = [WEIGHTINGS[name](SCHEDULE, T[i : i + 1], loss)[0] for i in range(len(T))]
    np.testing.assert_array_equal(weights, each)


def errors_of_both_kinds(loss, seed=0):
    """One (x0, eps, eps_hat) at every T: its eps-error, and its x-error through x0_hat."""
    rng = np.random.default_rng(seed)
    x_0, eps, eps_hat = rng.normal(size=(3, len(T), 64))
    alpha, sigma = (a[:, None] for a in SCHEDULE.alpha_sigma(T))
    x_hat = (alpha * x_0 + sigma * eps - sigma * eps_hat) / alpha
    power = {"l2": 2, "l1": 1}[loss]
    return (
        (np.abs(eps - eps_hat) ** power).mean(axis=1),
        (np.abs(x_0 - x_hat) ** power).mean(axis=1),
    )


@pytest.mark.parametrize("loss", ["l2", "l1"])
def test_heuristic_is_exp_minus_7t_on_the_x_error(loss):
    eps_error, x_error = errors_of_both_kinds(loss)
    weights = WEIGHTINGS["heuristic"](SCHEDULE, T, loss)
    np.testing.assert_allclose(weights * eps_error, np.exp(-7 * T) * x_error, rtol=1e-10)


def test_simple_is_the_snr_on_the_x_error():
    eps_error, x_error = errors_of_both_kinds("l2")
    alpha, sigma = SCHEDULE.alpha_sigma(T)
    weights = WEIGHTINGS["simple"](SCHEDULE, T, "l2")
    np.testing.assert_allclose(weights * eps_error, (alpha / sigma) ** 2 * x_error, rtol=1e-10)


def test_vdm_is_the_falling_snr_on_the_x_error():
    """Kingma et al. 2021, eq. 17: -SNR'(t)/2 on the x-error, SNR' by differences here."""
    eps_error, x_error = errors_of_both_kinds("l2")
    snr = [np.divide(*SCHEDULE.alpha_sigma(T + h)) ** 2 for h in (-1e-3, 1e-3)]
    expected = -0.5 * (snr[1] - snr[0]) / 2e-3 * x_error
    np.testing.assert_allclose(
        WEIGHTINGS["vdm"](SCHEDULE, T, "l2") * eps_error, expected, rtol=0.01
    )


def test_the_papers_range_of_t_bounds_the_heuristic_weight():
    inside = (T >= 0.02) & (T <= 0.98)
    weights = WEIGHTINGS["heuristic"](SCHEDULE, T[inside], "l2")
    assert weights.max() / np.median(weights) < 5


def test_on_a_straight_path_the_elbo_weights_the_velocity_error_by_its_snr():
    """Kingma & Gao 2023, eq. 4, for x_t = (1 - t) x_0 + t eps: eps-error is (1 - t)^2 u-error."""
    schedule, t = FlowSchedule(1000.0), np.linspace(0.05, 0.95, 19)
    rng = np.random.default_rng(0)
    u, u_hat = rng.normal(size=(2, len(t), 64))
    eps_error = ((1 - t) ** 2) * ((u - u_hat) ** 2).mean(axis=1)
    expected = (1 - t) / t * ((u - u_hat) ** 2).mean(axis=1)
    np.testing.assert_allclose(WEIGHTINGS["vdm"](schedule, t, "l2") * eps_error, expected)


PROFILE = TimeProfile(
    loss="l1",
    edges=(0.0, 0.4, 0.6, 1.0),
    sd=(0.5, 4.0, 2.0),
    signal=(1.0, 1.0, 1.0),
    informative=(0.0, 1.0),
    weights=(0.0, 3.0, 1.0),
    fitted_on=FittedOn(run="x", identity="y", images=1, draws=1, evaluations=1),
)


@pytest.mark.parametrize(
    ("weighting", "expected"), [("standardised", (2, 0.25, 0.5)), ("learned", (0, 3, 1))]
)
def test_fitted_weights_are_those_of_the_bucket(weighting, expected):
    method = DiffusionClassifierMethod(weighting=weighting, loss="l1", fitted=PROFILE)
    t = np.array([0.1, 0.4, 0.5, 0.7])
    low, middle, high = expected
    assert weights(SCHEDULE, t, method).tolist() == [low, middle, middle, high]


def test_formulae_are_found_by_their_name():
    method = DiffusionClassifierMethod(weighting="heuristic", loss="l1")
    expected = WEIGHTINGS["heuristic"](SCHEDULE, T, "l1")
    np.testing.assert_array_equal(weights(SCHEDULE, T, method), expected)


@pytest.mark.parametrize("loss", ["l2", "l1"])
def test_x_error_is_that_of_the_image(loss):
    eps_error, x_error = errors_of_both_kinds(loss)
    weight = WEIGHTINGS["x-error"](SCHEDULE, T, loss)
    np.testing.assert_allclose(weight * eps_error, x_error, rtol=1e-10)


def in_torch(*arrays):
    return [torch.from_numpy(array.astype(np.float32))[:, None] for array in arrays]


@pytest.mark.parametrize("loss", ["l2", "l1"])
@pytest.mark.parametrize(
    ("schedule", "parametrisation"), [(SCHEDULE, "v_prediction"), (FlowSchedule(1.0), "flow")]
)
def test_velocity_is_the_error_of_a_network_that_predicts_it(schedule, parametrisation, loss):
    t = schedule.snap(np.linspace(0.05, 0.95, 19))
    rng = np.random.default_rng(0)
    x_0, eps, output = (torch.from_numpy(rng.normal(size=(len(t), 256))).float() for _ in range(3))
    alpha, sigma = in_torch(*schedule.alpha_sigma(t))
    x_t = alpha * x_0 + sigma * eps
    target = alpha * eps - sigma * x_0 if parametrisation == "v_prediction" else eps - x_0
    power = {"l2": 2, "l1": 1}[loss]
    eps_hat = to_epsilon(output, x_t, alpha, sigma, parametrisation)
    eps_error = ((eps - eps_hat).abs() ** power).mean(1).numpy()
    expected = ((target - output).abs() ** power).mean(1).numpy()
    found = WEIGHTINGS["velocity"](schedule, t, loss) * eps_error
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(("parametrisation", "name"), TRAINING_LOSS.items())
def test_the_training_loss_is_that_of_what_the_network_predicts(parametrisation, name):
    method = DiffusionClassifierMethod(weighting="training-loss")
    found = weights(SCHEDULE, T, method, parametrisation)
    np.testing.assert_array_equal(found, WEIGHTINGS[name](SCHEDULE, T, "l2"))
    with pytest.raises(ValueError, match="what the network predicts is not in the scores"):
        weights(SCHEDULE, T, method)


@pytest.mark.parametrize("loss", ["l2", "l1"])
def test_split_is_the_error_of_either_part_of_x_t(loss):
    """|sigma (eps - eps_hat)|^p and |alpha (x_0 - x_hat)|^p are one, in x_t of unit variance."""
    eps_error, x_error = errors_of_both_kinds(loss)
    alpha, sigma = SCHEDULE.alpha_sigma(T)
    power = {"l2": 2, "l1": 1}[loss]
    score = WEIGHTINGS["split"](SCHEDULE, T, loss) * eps_error
    np.testing.assert_allclose(score, sigma**power * eps_error, rtol=1e-10)
    np.testing.assert_allclose(score, alpha**power * x_error, rtol=1e-10)


@pytest.mark.parametrize("loss", ["l2", "l1"])
@pytest.mark.parametrize("schedule", [FlowSchedule(1000.0), KarrasSchedule(), SCHEDULE])
def test_split_is_a_function_of_the_signal_to_noise_ratio_alone(schedule, loss):
    t = schedule.snap(np.linspace(0.05, 0.95, 19))
    alpha, sigma = schedule.alpha_sigma(t)
    power = {"l2": 1.0, "l1": 0.5}[loss]
    expected = (1 + (alpha / sigma) ** 2) ** -power
    np.testing.assert_allclose(WEIGHTINGS["split"](schedule, t, loss), expected, rtol=1e-10)
