"""Two classifiers on the same images, against scipy and plain resampling of the images."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from zsd_ray.stats.paired import Discordance, bootstrap, mcnemar


def made_up(n, rate_first, rate_second, seed=0):
    """Whether two classifiers are right, with images that are hard for both."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    noise = rng.normal(0, 0.2, (2, n))
    return hard + noise[0] < rate_first, hard + noise[1] < rate_second


def test_counts_are_those_of_a_loop():
    first, second = made_up(300, 0.8, 0.7)
    b = c = 0
    for one, other in zip(first, second, strict=True):
        b += bool(one and not other)
        c += bool(other and not one)
    found = Discordance.of(first, second)
    assert (found.n, found.b, found.c) == (300, b, c)
    assert b > c > 0
    assert found.difference == pytest.approx(second.mean() - first.mean())


def test_mcnemar_is_scipys_exact_binomial_test():
    for b in range(0, 12):
        for c in range(0, 40, 3):
            if b + c:
                expected = binomtest(b, b + c, 0.5, alternative="two-sided").pvalue
                assert mcnemar(Discordance(1000, b, c)) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(Discordance(1000, 400, 300)) == pytest.approx(
        binomtest(400, 700, 0.5).pvalue, rel=1e-9
    )


def test_where_nothing_tells_them_apart():
    same = Discordance(50, 0, 0)
    assert (mcnemar(same), bootstrap(same), same.difference) == (1.0, (0.0, 0.0), 0.0)
    nothing = Discordance.of([], [])
    assert (mcnemar(nothing), bootstrap(nothing)) == (1.0, (-1.0, 1.0))
    assert math.isnan(nothing.difference)


def test_the_bootstrap_is_that_of_a_loop_over_resampled_images():
    first, second = made_up(250, 0.8, 0.72)
    gains = second.astype(int) - first.astype(int)
    rng = np.random.default_rng(5)
    means = [gains[rng.integers(0, 250, 250)].mean() for _ in range(4000)]
    low, high = bootstrap(Discordance.of(first, second))
    # The means are multiples of 1/250; a quantile of 4,000 of them is known to a step or two.
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.0081)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.0081)
    assert low < gains.mean() < high


def test_the_bootstrap_is_the_same_each_time_and_mirrors():
    found, mirrored = Discordance(400, 30, 12), Discordance(400, 12, 30)
    assert bootstrap(found) == bootstrap(found)
    many = Discordance(400_000, 30_000, 12_000)
    assert bootstrap(many) != bootstrap(many, seed=1)
    low, high = bootstrap(found)
    assert bootstrap(mirrored) == pytest.approx((-high, -low), abs=0.0051)
    narrow = bootstrap(found, confidence=0.5)
    assert low < narrow.low < narrow.high < high


@pytest.mark.full
def test_the_interval_holds_the_true_difference_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        b, c, _ = rng.multinomial(500, [0.08, 0.04, 0.88])
        low, high = bootstrap(Discordance(500, int(b), int(c)))
        held += low <= -0.04 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="same images, but came 3 and 2"):
        Discordance.of([True] * 3, [True] * 2)
