import numpy as np
import pytest
from scipy import integrate

from zsd_ray.diffusion.time_density import (
    UNIFORM_SHARE,
    TimeDensity,
    bucket_of,
    importance_density,
)
from zsd_ray.spec.method import FittedOn, TimeProfile

EDGES = (0.0, 0.25, 0.5, 1.0)
PROFILE = TimeProfile(
    loss="l2",
    edges=EDGES,
    sd=(1.0, 4.0, 2.0),
    signal=(1.0, 1.0, 1.0),
    informative=(EDGES[0], EDGES[-1]),
    fitted_on=FittedOn(run="x", identity="y", images=1, draws=1, evaluations=1),
)


def test_each_time_is_in_the_bucket_that_holds_it_or_the_nearest():
    t = np.array([-0.1, 0.0, 0.1, 0.25, 0.4, 0.5, 0.99, 1.0, 1.1])
    assert bucket_of(EDGES, t).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]


def test_quantiles_turn_the_distribution_function_round():
    density = importance_density(PROFILE, (0.1, 0.9), np.ones_like)

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

    density = importance_density(PROFILE, (0.0, 1.0), weight)
    wanted = np.array([0.25 * 2 * 1, 0.25 * 2 * 4, 0.5 * 1 * 2])
    expected = 0.9 * wanted / wanted.sum() + 0.1 * np.array([0.25, 0.25, 0.5])
    np.testing.assert_allclose(density.mass, expected)


def test_a_weight_that_changes_within_a_bucket_counts_by_its_root_mean_square():
    density = importance_density(PROFILE, (0.25, 0.5), lambda t: t**2)
    np.testing.assert_allclose(density.mass, [1.0])
    density = importance_density(PROFILE, (0.0, 0.5), lambda t: t)
    low = np.sqrt(integrate.quad(lambda t: t**2, 0, 0.25)[0])
    high = 4 * np.sqrt(integrate.quad(lambda t: t**2, 0.25, 0.5)[0])
    expected = 0.9 * np.array([low, high]) / (low + high) + 0.05
    np.testing.assert_allclose(density.mass, expected, rtol=1e-3)


def test_weights_of_one_over_sd_leave_times_uniform():
    def weight(t):
        return 1 / np.asarray(PROFILE.sd)[bucket_of(EDGES, t)]

    density = importance_density(PROFILE, (0.2, 0.8), weight)
    u = np.linspace(0, 1, 11)
    np.testing.assert_allclose(density.quantile(u), 0.2 + 0.6 * u, rtol=1e-12)
    np.testing.assert_allclose(density.correction(u), 1.0, rtol=1e-12)


def test_no_draw_weighs_more_than_the_uniform_share_allows():
    def weight(t):
        return np.where(t < 0.25, 0.0, 1.0)

    density = importance_density(PROFILE, (0.0, 1.0), weight)
    assert density.correction(np.array([0.1]))[0] == pytest.approx(1 / UNIFORM_SHARE)


def test_the_density_of_an_ideal_profile_has_the_least_variance():
    """Of E[w d] where d ~ N(0, sd(t)^2): exact second moments, against other densities."""
    sd, share = np.asarray(PROFILE.sd), np.diff(EDGES)

    def second_moment(mass):
        return float((share**2 / mass * sd**2).sum())

    best = share * sd / (share * sd).sum()
    rng = np.random.default_rng(0)
    others = [second_moment(rng.dirichlet(np.ones(3))) for _ in range(200)]
    density = importance_density(PROFILE, (0.0, 1.0), np.ones_like)
    assert second_moment(best) <= min(others)
    assert second_moment(density.mass) < 1.05 * second_moment(best)
    assert second_moment(density.mass) < second_moment(share)


def test_a_density_of_one_bucket_is_uniform():
    density = TimeDensity(np.array([0.1, 0.6]), np.array([1.0]))
    u = np.linspace(0, 1, 7)
    np.testing.assert_allclose(density.quantile(u), 0.1 + 0.5 * u)
    assert density.correction(u).tolist() == [1.0] * 7
