import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule


def stable_diffusion_betas(dtype=np.float64):
    return np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=dtype) ** 2


SCHEDULE = DiscreteSchedule.from_betas(stable_diffusion_betas())


def test_equals_the_plain_product():
    product, expected = 1.0, []
    for beta in stable_diffusion_betas():
        product *= 1.0 - beta
        expected.append(product)
    t = (np.arange(1000) + 0.5) / 1000
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    np.testing.assert_allclose(alpha**2, expected, rtol=1e-12)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, rtol=1e-12)


def test_stays_precise_near_zero_where_half_precision_does_not():
    _, sigma = SCHEDULE.alpha_sigma(np.array([0.0005]))
    half = np.sqrt(np.float16(1) - np.cumprod(1 - stable_diffusion_betas(np.float16))[0])
    assert sigma[0] == pytest.approx(np.sqrt(0.00085), rel=1e-9)
    assert abs(half / sigma[0] - 1) > 0.05


@given(st.floats(0, 1))
def test_snap_keeps_the_step_and_moves_at_most_half_of_one(t):
    t = np.array([t])
    snapped = SCHEDULE.snap(t)
    assert abs(snapped - t)[0] <= 0.5 / 1000 + 1e-12
    assert SCHEDULE.steps(snapped) == SCHEDULE.steps(t)
    assert SCHEDULE.model_time(t)[0] == np.clip(np.floor(t[0] * 1000), 0, 999)


def test_log_snr_slope_integrates_to_the_log_snr():
    t = (np.arange(1000) + 0.5) / 1000
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    log_snr = 2 * np.log(alpha / sigma)
    slope = SCHEDULE.log_snr_slope(t)
    assert (slope < 0).all()
    inner = slice(5, -5)
    integral = np.cumsum(slope)[inner] / 1000
    np.testing.assert_allclose(np.diff(integral), np.diff(log_snr[inner]), rtol=0.1)
    assert slope[300] == pytest.approx((log_snr[301] - log_snr[299]) / 0.002, rel=1e-9)


@pytest.mark.parametrize("schedule", [FlowSchedule(1000.0), KarrasSchedule()])
def test_continuous_schedules_fade_as_fast_as_their_slope_says(schedule):
    t = np.linspace(0.02, 0.98, 97)
    log_snr = [2 * np.log(np.divide(*schedule.alpha_sigma(t + h))) for h in (-1e-6, 1e-6)]
    np.testing.assert_allclose(
        schedule.log_snr_slope(t), (log_snr[1] - log_snr[0]) / 2e-6, rtol=1e-5
    )
    np.testing.assert_array_equal(schedule.snap(t), t)


def test_a_straight_path_and_its_time():
    schedule = FlowSchedule(1000.0)
    alpha, sigma = schedule.alpha_sigma(np.array([0.25]))
    assert (alpha[0], sigma[0], schedule.model_time(np.array([0.25]))[0]) == (0.75, 0.25, 250.0)


def test_the_ramp_of_karras_is_that_of_the_paper():
    """Eq. 5 with N = 18 steps, which runs from sigma_max down."""
    i, n, rho = np.arange(18), 18, 7
    paper = (80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    schedule = KarrasSchedule()
    alpha, sigma = schedule.alpha_sigma(1 - i / (n - 1))
    np.testing.assert_allclose(sigma, paper, rtol=1e-9)
    assert (alpha == 1).all()
    np.testing.assert_array_equal(schedule.model_time(1 - i / (n - 1)), sigma)


@pytest.mark.parametrize("schedule", [SCHEDULE, FlowSchedule(1000.0), KarrasSchedule()])
def test_a_level_of_noise_is_found_again(schedule):
    t = schedule.snap(np.linspace(0.002, 0.998, 997))
    alpha, sigma = schedule.alpha_sigma(t)
    found = schedule.at_log_level(np.log(sigma / alpha))
    np.testing.assert_allclose(found, [alpha, sigma, schedule.model_time(t)], rtol=1e-9, atol=1e-9)


def test_a_chain_goes_straight_from_step_to_step():
    alpha, sigma = SCHEDULE.alpha_sigma(np.array([0.3005, 0.3015]))
    log_levels = np.log(sigma / alpha)
    between = 0.75 * log_levels[0] + 0.25 * log_levels[1]
    alpha, sigma, time = SCHEDULE.at_log_level(np.array([between]))
    assert time[0] == pytest.approx(300.25)
    assert np.log(sigma / alpha)[0] == pytest.approx(between)
    assert (alpha**2 + sigma**2)[0] == pytest.approx(1)


def test_a_chain_that_ends_without_signal_has_levels_below():
    chain = DiscreteSchedule(np.array([0.9, 0.5, 0.1, 0.0]))
    _, _, time = chain.at_log_level(np.log(np.sqrt([1 / 9, 1.0, 9.0])))
    np.testing.assert_allclose(time, [0, 1, 2], atol=1e-9)
