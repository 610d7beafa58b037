from functools import partial

import numpy as np
import pytest
from scipy import integrate

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.time_profile import FittedOn, TimeProfile
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule
from zsd_ray.diffusion.time_density import (
    MEASURED_SHARE,
    USUAL_SHARE,
    USUAL_SNR,
    TimeDensity,
    bucket_of,
    importance_density,
    profile_spread,
    usual_spread,
)
from zsd_ray.diffusion.time_range import snr, time_range

EDGES = (0.0, 0.25, 0.5, 1.0)
PROFILE = TimeProfile(
    loss="l2",
    edges=EDGES,
    sd=(1.0, 4.0, 2.0),
    signal=(1.0, 1.0, 1.0),
    informative=(EDGES[0], EDGES[-1]),
    fitted_on=FittedOn(run="x", identity="y", images=1, draws=1, evaluations=1),
)


def fitted_density(t_range, weight):
    spread = partial(profile_spread, PROFILE)
    return importance_density(t_range, weight, spread, MEASURED_SHARE, EDGES)


def test_each_time_is_in_the_bucket_that_holds_it_or_the_nearest():
    t = np.array([-0.1, 0.0, 0.1, 0.25, 0.4, 0.5, 0.99, 1.0, 1.1])
    assert bucket_of(EDGES, t).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]


def test_quantiles_turn_the_distribution_function_round():
    density = fitted_density((0.1, 0.9), np.ones_like)

    def q(t):
        return 1 / (0.8 * density.correction(np.asarray([t]))[0])

    for u in (0.0, 0.01, 0.3, 0.5, 0.77, 0.999):
        t = density.quantile(np.asarray(u))
        inner = [edge for edge in EDGES if 0.1 < edge < t]
        below, _ = integrate.quad(q, 0.1, t, points=inner or None)
        assert below == pytest.approx(u, abs=1e-9)
    assert density.quantile(np.asarray(1.0)) == pytest.approx(0.9)


def test_draws_go_in_proportion_to_weight_times_sd():
    def weight(t):
        return np.where(t < 0.5, 2.0, 1.0)

    density = fitted_density((0.0, 1.0), weight)
    wanted = np.array([0.25 * 2 * 1, 0.25 * 2 * 4, 0.5 * 1 * 2])
    expected = 0.9 * wanted / wanted.sum() + 0.1 * np.array([0.25, 0.25, 0.5])
    np.testing.assert_allclose(density.mass, expected)


def test_a_weight_that_changes_within_a_bucket_counts_by_its_root_mean_square():
    density = fitted_density((0.25, 0.5), lambda t: t**2)
    np.testing.assert_allclose(density.mass, [1.0])
    density = fitted_density((0.0, 0.5), lambda t: t)
    low = np.sqrt(integrate.quad(lambda t: t**2, 0, 0.25)[0])
    high = 4 * np.sqrt(integrate.quad(lambda t: t**2, 0.25, 0.5)[0])
    expected = 0.9 * np.array([low, high]) / (low + high) + 0.05
    np.testing.assert_allclose(density.mass, expected, rtol=1e-3)


def test_weights_of_one_over_sd_leave_times_uniform():
    def weight(t):
        return 1 / np.asarray(PROFILE.sd)[bucket_of(EDGES, t)]

    density = fitted_density((0.2, 0.8), weight)
    u = np.linspace(0, 1, 11)
    np.testing.assert_allclose(density.quantile(u), 0.2 + 0.6 * u, rtol=1e-12)
    np.testing.assert_allclose(density.correction(u), 1.0, rtol=1e-12)


def test_no_draw_weighs_more_than_the_uniform_share_allows():
    def weight(t):
        return np.where(t < 0.25, 0.0, 1.0)

    density = fitted_density((0.0, 1.0), weight)
    assert density.correction(np.array([0.1]))[0] == pytest.approx(1 / MEASURED_SHARE)


def test_the_density_of_an_ideal_profile_has_the_least_variance():
    """Of E[w d] where d ~ N(0, sd(t)^2): exact second moments, against other densities."""
    sd, share = np.asarray(PROFILE.sd), np.diff(EDGES)

    def second_moment(mass):
        return float((share**2 / mass * sd**2).sum())

    best = share * sd / (share * sd).sum()
    rng = np.random.default_rng(0)
    others = [second_moment(rng.dirichlet(np.ones(3))) for _ in range(200)]
    density = fitted_density((0.0, 1.0), np.ones_like)
    assert second_moment(best) <= min(others)
    assert second_moment(density.mass) < 1.05 * second_moment(best)
    assert second_moment(density.mass) < second_moment(share)


def test_a_density_of_one_bucket_is_uniform():
    density = TimeDensity(np.array([0.1, 0.6]), np.array([1.0]))
    u = np.linspace(0, 1, 7)
    np.testing.assert_allclose(density.quantile(u), 0.1 + 0.5 * u)
    assert density.correction(u).tolist() == [1.0] * 7


def test_the_usual_spread_rises_with_the_signal_and_falls_where_it_tells_all():
    low = usual_spread(np.array([1e-5, 2e-5]))
    high = usual_spread(np.array([1e5, 4e5]))
    assert low[1] / low[0] == pytest.approx(2, rel=1e-3)
    assert high[1] / high[0] == pytest.approx(0.5, rel=1e-3)
    ratios = np.geomspace(1e-3, 1e3, 10_001)
    assert ratios[usual_spread(ratios).argmax()] == pytest.approx(2 * USUAL_SNR, rel=2e-3)
    assert usual_spread(np.array([0.0, np.inf])).tolist() == [0.0, 0.0]


SCHEDULES = {
    "linear": DiscreteSchedule.from_betas(np.linspace(1e-4, 0.02, 1000)),
    "flow": FlowSchedule(1000.0),
    "karras": KarrasSchedule(),
}


def usual_density(schedule, t_range, weight=np.ones_like):
    return importance_density(
        t_range, weight, lambda t: usual_spread(snr(schedule, t)), USUAL_SHARE
    )


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_draws_of_the_usual_density_estimate_the_mean_over_uniform_times(schedule):
    """E_q[f p / q] = E_p[f], by the midpoint rule in the density's own quantiles."""
    t_range = time_range(schedule, DiffusionClassifierMethod())
    density = usual_density(schedule, t_range)
    u = (np.arange(200_000) + 0.5) / 200_000
    t = density.quantile(u)
    plain = t_range[0] + (t_range[1] - t_range[0]) * u
    for f in (np.ones_like, np.square, lambda t: np.exp(-7 * t)):
        found = (f(t) * density.correction(t)).mean()
        assert found == pytest.approx(f(plain).mean(), rel=1e-5)
    assert density.correction(t).max() <= 1 / USUAL_SHARE


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_usual_density_has_less_variance_where_errors_spread_as_usual(schedule):
    t_range = time_range(schedule, DiffusionClassifierMethod())
    density = usual_density(schedule, t_range)
    u = (np.arange(50_000) + 0.5) / 50_000
    variance = usual_spread(snr(schedule, t_range[0] + (t_range[1] - t_range[0]) * u)) ** 2
    t = density.quantile(u)
    by_importance = (usual_spread(snr(schedule, t)) * density.correction(t)) ** 2
    assert by_importance.mean() < 0.95 * variance.mean()


def test_the_usual_density_is_smooth_and_follows_the_weighting():
    flow = SCHEDULES["flow"]
    density = usual_density(flow, (0.2, 0.9))
    steps = np.abs(np.diff(density.mass)) / density.mass.max()
    assert len(density.mass) == 40
    assert steps.max() < 0.12
    early = usual_density(flow, (0.2, 0.9), lambda t: np.where(t < 0.5, 1.0, 0.0))
    share = early.mass[early.edges[:-1] >= 0.5].sum()
    assert share == pytest.approx(USUAL_SHARE * 0.4 / 0.7, rel=0.05)
