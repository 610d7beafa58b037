"""Shares of predictions against shares of labels."""

import numpy as np
from scipy.stats import binomtest

from zsd_ray.stats.class_bias import class_bias


def test_counts_and_excess():
    found = class_bias([0, 0, 1, 2], [0, 1, 1, 1], 4)
    assert found.labels.tolist() == [2, 1, 1, 0]
    assert found.predictions.tolist() == [1, 3, 0, 0]
    assert found.excess.tolist() == [-0.25, 0.5, -0.25, 0]
    assert not found.significant.any()  # of four images nothing is


def test_the_test_is_the_exact_binomial_one_at_5_percent_over_all_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    predictions = np.where(rng.random(300) < 0.12, 3, labels)
    found = class_bias(labels, predictions, 6)
    for k in range(4):
        lost = int(((labels == k) & (predictions != k)).sum())
        won = int(((labels != k) & (predictions == k)).sum())
        p = binomtest(lost, lost + won).pvalue if lost + won else 1.0
        assert found.significant[k] == (p <= 0.05 / 4)
    assert found.significant[3]
    assert not found.significant[4:].any()


def test_it_errs_as_seldom_as_it_says():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(300):
        labels = rng.integers(0, 5, 100)
        confused = rng.random(100) < 0.4
        predictions = np.where(confused, rng.integers(0, 5, 100), labels)
        wrong += class_bias(labels, predictions, 5).significant.any()
    assert wrong / 300 <= 0.09


def test_right_predictions_show_no_bias_however_unequal_the_classes():
    labels = [0] * 90 + [1] * 10
    found = class_bias(labels, labels, 2)
    assert found.excess.tolist() == [0, 0]
    assert not found.significant.any()


def test_no_images():
    found = class_bias([], [], 3)
    assert found.excess.tolist() == [0, 0, 0]
