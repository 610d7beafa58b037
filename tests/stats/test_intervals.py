"""Wilson's interval: the roots of its quadratic, published values, and what an interval must do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.stats.intervals import Interval, half_width, wilson

Z_95 = 1.959963984540054

trials = st.integers(1, 100_000)
counts = trials.flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_bounds_are_the_roots_of_the_score_equation(count: tuple[int, int]) -> None:
    # (share - p)^2 = z^2 p (1 - p) / n, as a quadratic in p.
    successes, n = count
    share, z2 = successes / n, Z_95**2
    roots = np.sort(np.roots([1 + z2 / n, -(2 * share + z2 / n), share**2]).real)
    # A double root (all or no successes in huge samples) is only good to its square root.
    assert np.allclose(wilson(successes, n), roots, atol=1e-7)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(counts)
def test_inside_the_unit_interval_and_around_the_share(count: tuple[int, int]) -> None:
    low, high = wilson(*count)
    assert 0 <= low <= count[0] / count[1] <= high <= 1


@given(counts, st.integers(2, 50))
def test_narrower_with_more_trials(count: tuple[int, int], more: int) -> None:
    successes, n = count
    low, high = wilson(successes, n)
    closer_low, closer_high = wilson(successes * more, n * more)
    assert closer_high - closer_low < high - low


@given(counts)
def test_wider_with_more_confidence(count: tuple[int, int]) -> None:
    low, high = wilson(*count, confidence=0.95)
    wide_low, wide_high = wilson(*count, confidence=0.99)
    assert wide_high - wide_low > high - low


@given(counts)
def test_failures_mirror_successes(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson(successes, n)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_bounds_are_exact_at_the_ends() -> None:
    assert wilson(0, 7).low == 0.0
    assert wilson(7, 7).high == 1.0


def test_no_trials_say_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(5, 4), (-1, 4)])
def test_impossible_counts_are_named(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"came {successes} of {n}"):
        wilson(successes, n)


def test_coverage_is_near_its_promise() -> None:
    # Exact coverage at n = 50, averaged over the truth: close to 95 %, the point of Wilson's.
    n = 50
    bounds = np.array([wilson(k, n) for k in range(n + 1)])
    coverage = []
    for truth in np.linspace(0.05, 0.95, 181):
        log_choose = np.cumsum(
            np.log(np.r_[1, np.arange(n, 0, -1)] / np.r_[1, np.arange(1, n + 1)])
        )
        k = np.arange(n + 1)
        chance = np.exp(log_choose + k * np.log(truth) + (n - k) * np.log(1 - truth))
        inside = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
        coverage.append(chance[inside].sum())
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
    assert min(coverage) > 0.91


def test_the_half_width_of_a_mean_is_students() -> None:
    # Two values d apart: their standard error is d / 2, and t_{0.975} of 1 degree is 12.706.
    assert half_width([[1.0, 3.0], [5.0, 5.0]]) == pytest.approx([12.706205, 0.0], rel=1e-6)
    with pytest.raises(ValueError, match="needs at least 2 values, but came 1"):
        half_width([1.0])
