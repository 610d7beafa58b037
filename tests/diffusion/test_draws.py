from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zsd_ray.diffusion.draws import STRATA, noise, staged_order, times, uniform
from zsd_ray.diffusion.time_density import TimeDensity

DENSITY = TimeDensity(np.array([0.2, 0.3, 0.7, 0.8]), np.array([0.5, 0.3, 0.2]))
RULES = {
    "uniform": {},
    "stratified": {},
    "importance": {"density": DENSITY},
    "grid": {"grid_points": 7},
}


@given(st.integers(0, 200), st.integers(1, 12), st.sampled_from(list(RULES)))
def test_a_draw_does_not_depend_on_what_is_asked_beside_it(first, count, rule):
    numbers = range(first, first + count)
    together = noise(7, "cat/1.png", numbers, (2, 3, 3))
    alone = [noise(7, "cat/1.png", range(i, i + 1), (2, 3, 3))[0] for i in numbers]
    np.testing.assert_array_equal(together, alone)

    def t_of(draws):
        return times(7, "cat/1.png", draws, rule, **RULES[rule])

    np.testing.assert_array_equal(t_of(numbers), [t_of(range(i, i + 1))[0] for i in numbers])


@pytest.mark.parametrize(("seed", "image"), [(8, "cat/1.png"), (7, "cat/2.png"), (70, "cat/1.png")])
def test_another_seed_or_image_gives_other_draws(seed, image):
    numbers = range(3)
    assert not np.any(noise(7, "cat/1.png", numbers, (4,)) == noise(seed, image, numbers, (4,)))
    assert not np.any(times(7, "cat/1.png", numbers) == times(seed, image, numbers))


def test_seed_and_image_cannot_be_confused():
    assert not np.any(noise(1, "1", range(1), (4,)) == noise(11, "", range(1), (4,)))


def test_noise_is_standard_normal_and_independent_over_draws():
    eps = noise(0, "x", range(200), (100,))
    assert eps.dtype == np.float32
    assert stats.kstest(eps.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(eps)[np.triu_indices(200, 1)]
    assert abs(correlation.mean()) < 0.01
    assert correlation.std() == pytest.approx(0.1, rel=0.05)  # 1/sqrt(100)


@pytest.mark.parametrize("rule", ["uniform", "stratified"])
def test_times_are_uniform_on_the_range(rule):
    t = times(0, "x", range(4000), rule, (0.2, 0.8))
    assert t.min() >= 0.2
    assert t.max() < 0.8
    assert stats.kstest((t - 0.2) / 0.6, "uniform").pvalue > 1e-3


def test_each_block_of_stratified_times_has_one_in_each_slice():
    t = times(3, "x", range(5 * STRATA), "stratified").reshape(5, STRATA)
    assert (np.sort((t * STRATA).astype(int), axis=1) == np.arange(STRATA)).all()
    assert len({tuple(np.argsort(row)) for row in t}) > 1  # where it starts is random


def test_the_first_stratified_times_of_a_block_are_spread_too():
    """Two, four and eight of them are a half, a quarter and an eighth apart, but for a slice."""
    for image in range(200):
        t = times(3, f"{image}", range(STRATA), "stratified")
        for k in range(2, STRATA + 1):
            around = np.sort(t[:k])
            gaps = np.diff(np.append(around, around[0] + 1))
            assert gaps.max() <= 1 / 2 ** (k.bit_length() - 1) + 1 / STRATA


def test_every_place_of_a_block_is_uniform_alone():
    t = np.array([times(0, f"{image}", range(STRATA), "stratified") for image in range(1500)])
    for column in t.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4


def test_stratified_means_are_unbiased_with_less_variance():
    def mean_of_square(rule):
        return np.array([(times(0, f"{i}", range(STRATA), rule) ** 2).mean() for i in range(2000)])

    uniform, stratified = mean_of_square("uniform"), mean_of_square("stratified")
    for means in (uniform, stratified):
        assert abs(means.mean() - 1 / 3) < 4 * means.std() / np.sqrt(2000)
    assert stratified.var() < 0.1 * uniform.var()


@pytest.mark.parametrize("n", [1, 2, 5, 8, 20, 100])
def test_a_grid_has_the_middle_of_every_slice_once(n):
    t = times(3, "x", range(n), "grid", (0.2, 0.8), grid_points=n)
    np.testing.assert_allclose(np.sort(t), 0.2 + 0.6 * (np.arange(n) + 0.5) / n, rtol=1e-12)
    again = times(4, "y", range(n, 2 * n), "grid", (0.2, 0.8), grid_points=n)
    np.testing.assert_array_equal(again, t)


@pytest.mark.parametrize("n", [8, 20, 100, 500])
def test_what_is_done_of_a_grid_is_spread_over_all_of_it(n):
    """The gap that is left after k points is less than 2 / k, and a slice where k is no power of 2.

    Filled from one end, k points would leave a gap of 1 - k / n.
    """
    t = times(0, "x", range(n), "grid", grid_points=n)
    for k in range(1, n + 1):
        gaps = np.diff(np.concatenate([[0], np.sort(t[:k]), [1]]))
        assert gaps.max() <= 2 / k + 1 / n


def test_times_follow_a_density():
    """In each bucket as many as its mass says; a block has one in each slice of equal mass."""
    t = np.concatenate(
        [times(0, f"{i}", range(STRATA), "importance", density=DENSITY) for i in range(500)]
    )
    share, _ = np.histogram(t, DENSITY.edges)
    np.testing.assert_allclose(share / len(t), DENSITY.mass, atol=1e-12)  # multiples of a tenth
    for low, high in zip(DENSITY.edges[:-1], DENSITY.edges[1:], strict=True):
        inside = t[(t >= low) & (t < high)]
        assert stats.kstest((inside - low) / (high - low), "uniform").pvalue > 1e-3


PEAK = TimeDensity(np.array([0.2, 0.35, 0.8]), np.array([0.8, 0.2]))


def peaked(t):
    """Large where few uniform draws fall, as PEAK has it."""
    return np.where(t < 0.35, 6.0, 0.5) * (1 + 0.5 * np.sin(20 * t))


def image_means(rule, n_images=2000, n_draws=20):
    """Of each image, the mean of a score whose noise is as large as itself."""
    means = np.empty(n_images)
    for i in range(n_images):
        t = times(1, f"{i}", range(n_draws), rule, (0.2, 0.8), density=PEAK)
        eps = noise(1, f"{i}", range(n_draws), (1,))[:, 0]
        correction = PEAK.correction(t) if rule == "importance" else 1.0
        means[i] = (peaked(t) * (1 + eps) * correction).mean()
    return means


@pytest.mark.full
def test_every_random_rule_estimates_the_same_mean_and_the_better_ones_with_less_variance():
    grid = 0.2 + 0.6 * (np.arange(100_000) + 0.5) / 100_000
    expected = peaked(grid).mean()
    variance = {}
    for rule in ("uniform", "stratified", "importance"):
        means = image_means(rule)
        assert abs(means.mean() - expected) < 4 * means.std() / np.sqrt(len(means))
        variance[rule] = means.var()
    assert variance["stratified"] < 0.75 * variance["uniform"]
    assert variance["importance"] < 0.5 * variance["stratified"]


def test_without_its_correction_importance_would_estimate_something_else():
    t = np.concatenate([times(1, f"{i}", range(20), "importance", density=PEAK) for i in range(99)])
    assert peaked(t).mean() > 2 * (peaked(t) * PEAK.correction(t)).mean()


def test_the_draws_of_a_release_never_change():
    # Golden values: when these move, every earlier run loses its meaning (identity.NUMERICS).
    assert times(0, "digits/0001", range(2)).tolist() == pytest.approx(GOLDEN_TIMES, abs=0)
    t = times(0, "digits/0001", range(9, 11), "stratified")
    assert t.tolist() == pytest.approx(GOLDEN_STRATIFIED, abs=0)
    assert noise(0, "digits/0001", range(1), (2,))[0].tolist() == pytest.approx(GOLDEN_EPS, abs=0)


GOLDEN_STRATIFIED = [0.6002221571824515, 0.8806128604845255]
GOLDEN_TIMES = [0.00022215718245155447, 0.8806128604845255]
GOLDEN_EPS = [0.9771142601966858, 0.016949346289038658]


def test_other_numbers_are_uniform_addressed_and_no_times():
    found = uniform(7, "cat/1.png", range(400), (3,))
    assert found.shape == (400, 3)
    assert stats.kstest(found.ravel(), "uniform").pvalue > 0.01
    np.testing.assert_array_equal(found[5:9], uniform(7, "cat/1.png", range(5, 9), (3,)))
    assert not np.any(found[:, 0] == times(7, "cat/1.png", range(400)))


def of_the_published_code(n_samples):
    """The steps that Li et al.'s eval_prob_adaptive.py adds at each stage, of a chain of 1,000."""
    most = n_samples[-1]
    grid = range(1000 // most // 2, 1000, 1000 // most)[:most]
    seen, stages = set(), []
    for n in n_samples:
        new = set(grid[most // n // 2 :: most // n][:n]) - seen
        seen |= new
        stages.append(new)
    return stages


def steps(numbers, stages, **options):
    t = times(0, "any", numbers, "grid", (0, 1), grid_points=stages[-1], **options)
    return np.floor(1000 * t).astype(int).tolist()


# Those of its commands whose stages contain each other: CIFAR-10, pets, STL-10; and 100/20.
@pytest.mark.parametrize("stages", [(50, 500), (25, 250), (100, 500), (20, 100)])
def test_a_grid_in_stages_is_that_of_the_published_code(stages):
    numbers = [range(a, b) for a, b in pairwise((0, *stages))]
    found = [set(steps(each, stages, grid_stages=stages)) for each in numbers]
    assert found == of_the_published_code(stages)
    first = steps(range(stages[0]), stages, grid_stages=stages)
    assert np.mean(first) == pytest.approx(500, abs=2)
    if stages == (20, 100):  # what it was in van der Corput's order alone
        assert np.mean(steps(range(20), stages)) == pytest.approx(466, abs=1)


# The others, for Food-101 and ImageNet: ours have the number of draws that they name.
@pytest.mark.parametrize("stages", [(20, 50, 100, 500), (50, 100, 500, 1000), (7, 60, 100)])
def test_stages_that_do_not_contain_each_other_are_nested_and_even(stages):
    order = staged_order(stages[-1], stages)
    assert sorted(order) == list(range(stages[-1]))
    for stage in stages:
        so_far = np.sort(order[:stage])
        assert so_far.mean() == pytest.approx((stages[-1] - 1) / 2, rel=0.02)
        # Nowhere is a gap of more than two of its slices.
        assert np.diff(so_far, prepend=-1, append=stages[-1]).max() <= 2 * stages[-1] / stage + 1
    first = of_the_published_code(stages)[0]
    if 1000 % stages[0] == 0:
        assert set(steps(range(stages[0]), stages, grid_stages=stages)) == first
