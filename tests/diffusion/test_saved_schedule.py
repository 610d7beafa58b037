"""A schedule from saved draws, against the schedules that the draws came from."""

import numpy as np
import pytest

from zsd_ray.diffusion.saved_schedule import SavedSchedule
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule
from zsd_ray.diffusion.weighting import WEIGHTINGS

CHAIN = DiscreteSchedule.from_betas(np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def cosine_chain(n_steps):
    """Nichol & Dhariwal 2021, eq. 17."""
    steps = np.arange(n_steps + 1) / n_steps
    alpha_bar = np.cos((steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return DiscreteSchedule.from_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999))


def saved(schedule, t):
    t = schedule.snap(t)
    return SavedSchedule(t, *schedule.alpha_sigma(t)), t


def random_times(n, low=0.02, high=0.98):
    return np.random.default_rng(0).uniform(low, high, n)


@pytest.mark.parametrize("schedule", [CHAIN, FlowSchedule(1000.0), KarrasSchedule()])
@pytest.mark.parametrize("weighting", ["simple", "heuristic"])
def test_weights_of_saved_times_are_the_schedules_own_bit_for_bit(schedule, weighting):
    known, t = saved(schedule, random_times(300))
    t = np.concatenate([t[::-1], t[:5]])
    for loss in ("l1", "l2"):
        expected = WEIGHTINGS[weighting](schedule, t, loss)
        assert np.array_equal(WEIGHTINGS[weighting](known, t, loss), expected)


@pytest.mark.parametrize(
    ("schedule", "n", "relative"),
    [
        (CHAIN, 20_000, 1e-4),  # every step inside the range
        (CHAIN, 2_000, 1e-3),  # six of seven
        (CHAIN, 200, 0.02),
        (cosine_chain(1000), 20_000, 1e-4),
        (cosine_chain(4000), 2_000, 1e-3),
        (FlowSchedule(1000.0), 20_000, 1e-6),
        (FlowSchedule(1000.0), 20, 1e-9),
        (KarrasSchedule(), 20_000, 1e-5),
        (KarrasSchedule(), 200, 1e-3),
    ],
)
def test_the_slope_is_the_schedules(schedule, n, relative):
    known, t = saved(schedule, random_times(n))
    np.testing.assert_allclose(known.log_snr_slope(t), schedule.log_snr_slope(t), rtol=relative)


def test_between_saved_neighbours_the_slope_of_a_chain_is_exact():
    known, t = saved(CHAIN, random_times(20_000))
    inner = t[(t > t.min()) & (t < t.max())]
    np.testing.assert_allclose(known.log_snr_slope(inner), CHAIN.log_snr_slope(inner), rtol=1e-11)


def test_times_that_nearly_agree_do_not_make_a_slope_of_rounding_errors():
    even = np.arange(0.02, 0.98, 0.01)
    schedule = KarrasSchedule()
    known, t = saved(schedule, np.concatenate([np.nextafter(even, 0), even]))
    np.testing.assert_allclose(known.log_snr_slope(t), schedule.log_snr_slope(t), rtol=0.01)


def test_the_slope_at_the_ends_of_a_chain():
    every = (np.arange(1000) + 0.5) / 1000
    known, _ = saved(CHAIN, every)
    # An end's own difference is one-sided, as numpy.gradient's.
    assert known.log_snr_slope(every) == pytest.approx(CHAIN.log_snr_slope(every), rel=1e-9)


def test_an_even_grid_of_flow_matching_is_no_chain():
    known, t = saved(FlowSchedule(1.0), (np.arange(50) + 0.5) / 50)
    assert known.log_snr_slope(t) == pytest.approx(-2 / (t * (1 - t)), rel=1e-9)


def test_times_that_have_no_slope():
    for t in ([0.5, 0.5], [0.5, 1.0]):
        known, times = saved(FlowSchedule(1.0), np.array(t))
        assert WEIGHTINGS["simple"](known, times, "l2").tolist() == [1.0, 1.0]
        with pytest.raises(ValueError, match="two different times"):
            known.log_snr_slope(times)


def test_a_time_that_was_not_saved_is_a_programmers_error():
    known, _ = saved(CHAIN, random_times(10))
    with pytest.raises(AssertionError):
        known.alpha_sigma(np.array([0.5001]))
