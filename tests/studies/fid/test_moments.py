"""Moments in parts against numpy's of the whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.studies.fid.frechet import merged
from zsd_ray.studies.fid.moments import Moments


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=8),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
    data=st.data(),
)
def test_any_order_and_split_gives_the_same(sizes, offset, data):
    random = np.random.default_rng(sum(sizes))
    vectors = random.standard_normal((sum(sizes), 3)) + offset
    parts = [Moments.of(part) for part in np.split(vectors, np.cumsum(sizes)[:-1])]
    whole = merged(data.draw(st.permutations(parts)))
    assert whole.n == len(vectors)
    # A sum of n numbers of this size has this many digits.
    np.testing.assert_allclose(whole.mean, vectors.mean(axis=0), rtol=1e-12, atol=1e-12)
    expected = np.cov((vectors - offset).T)
    np.testing.assert_allclose(whole.covariance, expected, rtol=0, atol=1e-12 + 1e-15 * offset**2)


@given(st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_a_merge_is_associative(sizes):
    random = np.random.default_rng(0)
    a, b, c, d = (Moments.of(random.standard_normal((n, 4))) for n in sizes)
    one, other = a.merged(b).merged(c.merged(d)), d.merged(c.merged(b.merged(a)))
    np.testing.assert_allclose(one.deviations, other.deviations, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12, atol=1e-14)


def test_a_large_common_part_costs_no_digits():
    """Where sums of squares in float64 would keep none of them."""
    vectors = np.random.default_rng(1).standard_normal((1000, 2))
    far = vectors + 1e8
    whole = merged([Moments.of(part) for part in np.split(far, 10)])
    np.testing.assert_allclose(whole.covariance, np.cov(vectors.T), atol=1e-6)
