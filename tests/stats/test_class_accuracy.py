"""Mean-per-class accuracy: against a loop, Wilson's interval, and the truth of simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.stats.class_accuracy import class_accuracy
from zsd_ray.stats.intervals import Interval, wilson

classes = st.lists(
    st.integers(0, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=12
)


@given(classes)
def test_each_class_with_images_counts_once(rows: list[tuple[int, int]]) -> None:
    found = class_accuracy([n for n, _ in rows], [right for _, right in rows])
    shares = [right / n for n, right in rows if n]
    assert found.n_classes == len(shares)
    if not shares:
        assert (found.value, found.interval) == (None, (0.0, 1.0))
        return
    assert found.value == pytest.approx(sum(shares) / len(shares))
    low, high = found.interval
    assert 0 <= low <= found.value + 1e-12
    assert found.value - 1e-12 <= high <= 1
    # A width, whatever came by chance.
    assert high - low > 1e-4


@given(classes)
def test_wrong_mirrors_right(rows: list[tuple[int, int]]) -> None:
    counts = [n for n, _ in rows]
    right = class_accuracy(counts, [k for _, k in rows])
    wrong = class_accuracy(counts, [n - k for n, k in rows])
    if right.value is not None:
        assert wrong.value == pytest.approx(1 - right.value)
        assert wrong.interval == pytest.approx(
            (1 - right.interval.high, 1 - right.interval.low), abs=1e-9
        )


@pytest.mark.parametrize(("n", "n_classes"), [(1, 1), (20, 1), (7, 10), (1, 50)])
def test_where_all_are_right_it_is_wilsons_of_all_images(n: int, n_classes: int) -> None:
    found = class_accuracy([n] * n_classes, [n] * n_classes)
    assert found.value == 1.0
    assert found.interval == pytest.approx(wilson(n * n_classes, n * n_classes))


def test_one_image_a_class_is_the_plain_accuracy() -> None:
    right = np.arange(200) % 4 > 0
    found = class_accuracy(np.ones(200), right)
    assert (found.value, found.interval) == (0.75, pytest.approx(wilson(150, 200)))


def test_of_one_class_the_variance_is_the_binomials() -> None:
    # p (1 - p) + p (1 - p) / n in place of p (1 - p): n^2 / (n + 1) trials.
    found = class_accuracy([0, 30, 0], [0, 12, 0])
    trials = 30**2 / 31
    assert (found.n_classes, found.value) == (1, 0.4)
    assert found.interval == pytest.approx(wilson(0.4 * trials, trials))


def test_a_small_class_makes_it_unsure_however_many_images_the_others_have() -> None:
    low, high = class_accuracy([1000, 1000, 2], [900, 900, 1]).interval
    # The third class's share has a standard error of about a half, a third of which is the mean's.
    assert 0.3 < high - low < 0.8
    low, high = class_accuracy([1000, 1000, 1000], [900, 900, 500]).interval
    assert high - low < 0.04


def test_more_confidence_is_wider() -> None:
    narrow = class_accuracy([9, 9], [3, 8], confidence=0.5).interval
    wide = class_accuracy([9, 9], [3, 8], confidence=0.99).interval
    assert wide.low < narrow.low < narrow.high < wide.high
    assert isinstance(wide, Interval)


SKEWED = [1, 1, 2, 3, 5, 10, 50, 100, 200, 500]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ([0.9] * 10, [50] * 10),
        (np.linspace(0.3, 0.99, 10), [50] * 10),
        ([0.995] * 10, [50] * 10),
        ([0.9] * 10, [5] * 10),
        ([0.5] * 10, [2] * 10),
        ([0.3] * 200, [1] * 200),
        (np.linspace(0.05, 0.95, 100), [1] * 100),
        ([0.8] * 10, SKEWED),
        (np.linspace(0.2, 0.95, 10), SKEWED),
        (np.linspace(0.95, 0.2, 10), SKEWED),
        ([0.99, 0.5], [100, 20]),
        ([0.97] * 2, [30] * 2),
    ],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(shares, counts) -> None:
    """1,000 runs each: 95 % has a standard error of 0.7 % over them."""
    rng = np.random.default_rng(7)
    truth = np.mean(shares)
    drawn = rng.binomial(counts, shares, size=(1000, len(counts)))
    intervals = [class_accuracy(counts, successes).interval for successes in drawn]
    held = np.mean([low <= truth <= high for low, high in intervals])
    # Below: Wilson's own dips, by discreteness. Above: where classes differ, it may be too wide.
    assert held >= 0.91
    if np.ptp(shares) == 0:
        assert held <= 0.98


def test_without_what_is_put_back_small_classes_would_deceive() -> None:
    """The plain formula in the place of the interval above, on classes of two images."""
    rng = np.random.default_rng(7)
    shares, counts = np.full(10, 0.5), np.full(10, 2)
    plain, ours = 0, 0
    for successes in rng.binomial(counts, shares, size=(500, 10)):
        p = successes / counts
        half = 1.96 * np.sqrt(np.sum(p * (1 - p) / counts)) / 10
        plain += abs(p.mean() - 0.5) <= half
        low, high = class_accuracy(counts, successes).interval
        ours += low <= 0.5 <= high
    assert plain / 500 < 0.85
    assert ours / 500 > 0.92
