"""The worst class: chosen by its accuracy, with an interval for having been chosen."""

import numpy as np
import pytest

from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.worst import worst_accuracy


def test_it_is_the_least_accurate_of_those_with_images():
    found = worst_accuracy([10, 0, 20, 20], [9, 0, 4, 16])
    assert (found.number, found.value, found.images, found.n_seen) == (2, 0.2, 20, 3)


def test_of_equal_ones_the_one_with_more_images():
    assert worst_accuracy([4, 8, 8], [2, 4, 4]).number == 1


def test_without_images_there_is_none():
    assert worst_accuracy([0, 0], [0, 0]) is None
    assert worst_accuracy([], []) is None


def test_of_one_class_it_is_wilsons_interval():
    assert worst_accuracy([30], [21]).interval == wilson(21, 30)


def test_the_interval_by_hand():
    """Three classes: each at 1 - 0.05 / 3."""
    counts, right = [50, 40, 5], [40, 30, 4]
    ends = [wilson(k, n, 1 - 0.05 / 3) for k, n in zip(right, counts, strict=True)]
    found = worst_accuracy(counts, right)
    assert found.number == 1
    assert found.interval == (min(e.low for e in ends), min(e.high for e in ends))
    assert found.interval.low < wilson(30, 40).low


@pytest.mark.parametrize("true", [[0.7] * 20, [0.5, *[0.9] * 19]])
def test_it_holds_the_worst_accuracy_as_often_as_it_says(true):
    """Where a single class's own interval does not: of 20 equal ones, the worst is low by luck."""
    rng = np.random.default_rng(0)
    least, counts = min(true), np.full(20, 40)
    drawn = rng.binomial(counts, true, size=(600, 20))
    held = [
        low <= least <= high for low, high in (worst_accuracy(counts, k).interval for k in drawn)
    ]
    assert np.mean(held) >= 0.93
    if true == [0.7] * 20:
        naive = [wilson(int(k.min()), 40) for k in drawn]
        assert np.mean([low <= least <= high for low, high in naive]) < 0.9
