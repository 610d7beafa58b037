"""Moderated variances: Smyth's moments, by another way to the same equations."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from zsd_ray.stats.moderation import MAX_DF, NOTHING, fit, inverse_trigamma


@pytest.mark.parametrize("y", [1e-4, 0.03, 0.4, 1.6, 30.0])
def test_the_inverse_of_trigamma(y):
    root = scipy.optimize.brentq(lambda x: scipy.special.polygamma(1, x) - y, 1e-6, 1e6)
    assert inverse_trigamma(y) == pytest.approx(root, rel=1e-8)


def test_the_prior_that_variances_were_drawn_from_is_found():
    rng = np.random.default_rng(0)
    df, variance, n = 5.0, 2.5, 8
    true = df * variance / rng.chisquare(df, size=200_000)
    seen = true * rng.chisquare(n, size=len(true)) / n
    found = fit(seen, float(n))
    assert found.df == pytest.approx(df, rel=0.05)
    assert found.variance == pytest.approx(variance, rel=0.02)


def test_equal_variances_count_for_no_more_than_the_cap():
    found = fit(np.full(6, 0.3), 4.0)
    assert found.df == MAX_DF
    assert found.variance > 0


@pytest.mark.parametrize("variances", [[], [1.0], [1.0, 2.0], [0.0, 0.0, 0.0, 1.0, 2.0]])
def test_little_tells_nothing(variances):
    assert fit(np.array(variances), 3.0) == NOTHING
