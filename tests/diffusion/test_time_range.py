"""Times by their signal-to-noise ratio, on every kind of schedule."""

import numpy as np
import pytest

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule
from zsd_ray.diffusion.time_range import first_at_most, noise_levels, snr, time_range

LINEAR = DiscreteSchedule.from_betas(np.linspace(1e-4, 0.02, 1000))
SCHEDULES = {
    "linear": LINEAR,
    "scaled-linear": DiscreteSchedule.from_betas(np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2),
    "short": DiscreteSchedule.from_betas(np.linspace(0.05, 0.4, 20)),
    "flow": FlowSchedule(1000.0),
    "karras": KarrasSchedule(),
}


def method(**keys):
    return DiffusionClassifierMethod(**keys)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("window", [(0.01, 20.0), (0.05, 3.0)])
def test_the_times_are_those_whose_ratio_is_in_the_window(schedule, window):
    low, high = time_range(schedule, method(snr_range=window))
    t = np.linspace(0, 1, 20_001)[1:-1]
    ratio = snr(schedule, t)
    inside = (ratio >= window[0]) & (ratio <= window[1])
    assert abs(t[inside][0] - low) < 1e-3
    assert abs(t[inside][-1] - high) < 1e-3
    drawn = snr(schedule, np.linspace(low, high, 1001)[1:-1])
    assert (drawn <= window[1] * (1 + 1e-9)).all()
    assert (drawn >= window[0] * (1 - 1e-9)).all()


def test_on_a_straight_path_by_hand():
    """((1 - t) / t)^2 = r at t = 1 / (1 + sqrt(r))."""
    low, high = time_range(FlowSchedule(1.0), method(snr_range=(0.01, 20.0)))
    assert low == pytest.approx(1 / (1 + 20**0.5), abs=1e-12)
    assert high == pytest.approx(1 / 1.1, abs=1e-12)


def test_in_a_chain_it_begins_and_ends_with_whole_steps():
    low, high = time_range(LINEAR, method(snr_range=(0.01, 20.0)))
    assert low * 1000 == pytest.approx(round(low * 1000), abs=1e-9)
    assert high * 1000 == pytest.approx(round(high * 1000), abs=1e-9)


def test_a_window_wider_than_the_schedule_is_all_of_it():
    assert time_range(LINEAR, method(snr_range=(1e-9, 1e9))) == (0.0, 1.0)
    assert first_at_most(LINEAR, 1e-9) == 1.0


def test_a_window_outside_of_the_schedule_is_refused():
    with pytest.raises(ValueError, match=r"\[1e\+08, 1e\+09\] holds no time .* from 4.0\de-05 to"):
        time_range(LINEAR, method(snr_range=(1e8, 1e9)))


def test_a_range_of_t_is_itself():
    assert time_range(LINEAR, method(t_range=(0.1, 0.4))) == (0.1, 0.4)


def test_a_range_is_found_in_both_measures_on_every_schedule():
    """On the straight path ((1 - t) / t)^2; the other way round the same t come back."""
    flow = FlowSchedule(1.0)
    found = noise_levels(flow, method(t_range=(0.2, 0.5)))
    assert found.t_range == (0.2, 0.5)
    assert found.snr_range == pytest.approx((1.0, 16.0))
    back = noise_levels(flow, method(snr_range=found.snr_range))
    assert back.t_range == pytest.approx((0.2, 0.5))
    assert noise_levels(flow, method(t_range=(0.0, 1.0))).snr_range == (0.0, None)
    low, high = noise_levels(LINEAR, method()).t_range
    assert snr(LINEAR, np.array([low, high - 1e-9])) == pytest.approx([10.0, 0.05], rel=0.1)
