"""Calibration error, proper scores and their intervals: against plain sums and known truths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.stats import reliability
from zsd_ray.stats.intervals import wilson

shares = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def made_up(n=500, seed=0, bias=0.0):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.3, 1.0, n)
    return confidence, rng.random(n) < confidence - bias


def plain_ece(confidence, correct, n_bins):
    """Guo et al. 2017, eq. 3, bin by bin."""
    total = 0.0
    for m in range(n_bins):
        inside = [
            i
            for i, c in enumerate(confidence)
            if m / n_bins < c <= (m + 1) / n_bins or (m == 0 and c == 0)
        ]
        if inside:
            accuracy = sum(bool(correct[i]) for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_calibration_error_is_the_plain_sum(bias: float) -> None:
    confidence, correct = made_up(bias=bias)
    found = reliability.calibration_error(
        confidence, correct, reliability.equal_width(confidence, 15)
    )
    assert found == pytest.approx(plain_ece(confidence.tolist(), correct.tolist(), 15))


def test_weights_count_images_as_often() -> None:
    confidence, correct = made_up(n=40)
    times = np.random.default_rng(1).integers(0, 4, 40)
    numbers = reliability.equal_width(confidence)
    found = reliability.calibration_error(confidence, correct, numbers, times.astype(float))
    again = np.repeat(np.arange(40), times)
    expected = reliability.calibration_error(confidence[again], correct[again], numbers[again])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("confidence", "number"), [(0.0, 0), (0.1, 0), (0.2, 0), (0.21, 1), (0.4, 1), (1.0, 4)]
)
def test_a_bin_holds_its_upper_end(confidence: float, number: int) -> None:
    assert reliability.equal_width(np.array([confidence]), 5).tolist() == [number]


@given(shares, st.integers(1, 20))
def test_equal_mass_keeps_order_and_equals_together(values: list[float], n_bins: int) -> None:
    confidence = np.array(values)
    numbers = reliability.equal_mass(confidence, n_bins)
    order = np.argsort(confidence, kind="stable")
    assert (np.diff(numbers[order]) >= 0).all()
    assert 0 <= numbers.min() <= numbers.max() < n_bins
    for value in set(values):
        assert len(set(numbers[confidence == value])) == 1


def test_equal_mass_bins_hold_as_many() -> None:
    confidence = np.random.default_rng(0).permutation(np.linspace(0.9, 1.0, 150))
    assert np.bincount(reliability.equal_mass(confidence, 15)).tolist() == [10] * 15


def test_bins_hold_what_is_in_them() -> None:
    confidence = np.array([0.31, 0.35, 0.95, 0.97, 0.99])
    correct = np.array([True, False, True, True, True])
    low, high = reliability.bins(confidence, correct, reliability.equal_width(confidence, 10))
    assert (low.n, low.correct, low.accuracy) == (2, 1, 0.5)
    assert low.confidence == pytest.approx(0.33)
    assert (low.accuracy_low, low.accuracy_high) == wilson(1, 2)
    assert (high.n, high.correct) == (3, 3)
    assert high.confidence == pytest.approx(0.97)


def test_what_is_calibrated_by_construction_errs_as_by_chance() -> None:
    confidence, correct = made_up(n=20_000)
    numbers = reliability.equal_width(confidence)
    found = reliability.calibration_error(confidence, correct, numbers)
    chance = reliability.error_by_chance(confidence, numbers)
    assert chance < 0.02
    assert found < 2 * chance
    biased = reliability.calibration_error(*made_up(n=20_000, bias=0.1), numbers)
    assert biased == pytest.approx(0.1, abs=0.02)


def test_error_by_chance_of_one_bin_is_half_normal() -> None:
    # The mean of abs(N(0, p (1 - p) / n)).
    confidence = np.full(400, 0.7)
    expected = math.sqrt(2 / math.pi * 0.7 * 0.3 / 400)
    found = reliability.error_by_chance(confidence, np.zeros(400, dtype=np.intp))
    assert found == pytest.approx(expected, rel=0.08)


def test_proper_scores_are_the_plain_sums() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    labels = np.array([0, 1])
    brier = reliability.brier(np.log(p), labels)
    assert brier == pytest.approx([0.3**2 + 0.2**2 + 0.1**2, 0.1**2 + 0.9**2 + 0.8**2])
    assert reliability.log_loss(np.log(p), labels) == pytest.approx([-math.log(0.7), math.log(10)])


def test_log_odds_are_exact_next_to_1() -> None:
    logs = np.array([[np.log1p(-1e-30), np.log(1e-30)], [np.log(0.3), np.log(0.7)]])
    odds = reliability.log_odds(logs, np.array([0, 0]))
    assert odds == pytest.approx([30 * math.log(10), math.log(0.3 / 0.7)])


def mean_of(values):
    return lambda weights: float(values @ weights / weights.sum())


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).gamma(2.0, 1.0, 400)
    found = reliability.intervals({"mean": mean_of(values)}, 400)["mean"]
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx(
        [values.mean() - half, values.mean() + half], rel=0.05
    )


def test_intervals_of_a_mean_cover_it() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        values = rng.exponential(1.0, 80)
        found = reliability.intervals({"mean": mean_of(values)}, 80, seed)["mean"]
        covered += found.low <= 1.0 <= found.high
    assert covered >= 50


def test_the_interval_of_a_calibration_error_allows_for_chance() -> None:
    # Of a calibrated method, whose true error is 0, ECE itself never comes near 0.
    reached, errors = 0, []
    for seed in range(20):
        confidence, correct = made_up(n=150, seed=seed)
        numbers = reliability.equal_width(confidence)

        def error(weights, confidence=confidence, correct=correct, numbers=numbers):
            return reliability.calibration_error(confidence, correct, numbers, weights)

        found = reliability.intervals({"ece": error}, 150, seed)["ece"]
        assert 0 <= found.low <= found.value <= found.high
        reached += found.low < 0.02
        errors.append(found.value)
    assert min(errors) > 0.05
    assert reached >= 15


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random(50)
    statistics = {"a": mean_of(values), "b": mean_of(2 * values)}
    one, two = (reliability.intervals(statistics, 50) for _ in range(2))
    assert one == two
    assert one["b"].low == pytest.approx(2 * one["a"].low)  # the same resamples
    assert reliability.intervals(statistics, 50, seed=1) != one
