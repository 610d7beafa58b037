"""Against numbers worked out by hand."""

import numpy as np
import pytest

from zsd_ray.planning.estimate import Bounds, Likely, estimate, mean_interval

BOUNDS = Bounds(
    output="runs/x", n_listed=5000, n_images=1000, n_done=100, n_todo=900, n_classes=10,
    n_templates=2, n_prompts=20, min_workers=2, max_workers=4, gpus_per_worker=0.5,
    least=100, most=4000,
)  # fmt: skip


def near(figure):
    return pytest.approx(figure, rel=1e-6)


def test_of_even_values_the_interval_is_students():
    # Mean 3, variance (4 + 1 + 0 + 1 + 4) / 4 = 2.5; t(4) = 2.7764451 at 97.5 %.
    half = 2.7764451 * (2.5 / 5) ** 0.5
    found = mean_interval([1, 2, 3, 4, 5], least=0, most=100)
    assert (found.value, found.low, found.high) == (3, near(3 - half), near(3 + half))


def test_of_skewed_values_it_reaches_higher():
    # Nine 0 and a 10: mean 1, deviation sqrt(10), third moment (9 * -1 + 729) / 10 = 72: skewness
    # 72 / 10^1.5 and a = 0.72; t(9) = 2.2621572, and the standard error is 1.
    high = 1 - 3 / 0.72 * (-((0.72 * (2.2621572 + 0.12) - 1) ** (1 / 3)) - 1)
    low = 1 - 3 / 0.72 * ((1 + 0.72 * (2.2621572 - 0.12)) ** (1 / 3) - 1)
    found = mean_interval([0] * 9 + [10], least=-100, most=100)
    assert (found.value, found.low, found.high) == (1, near(low), near(high))
    assert found.high - 1 > 2.2621572 > 1 - found.low


def test_the_interval_keeps_most_of_its_promise_for_costs_with_a_long_tail():
    """Of 95 %; Student's t alone keeps 87 %."""
    rng = np.random.default_rng(0)
    mean, hits = 200 + 100 * np.exp(0.5), 0
    for _ in range(2000):
        sample = 200 + 100 * rng.lognormal(0, 1, 20)
        found = mean_interval(sample, least=200, most=20_000)
        hits += found.low <= mean <= found.high
    assert hits / 2000 > 0.9


def test_no_mean_is_beyond_what_the_rule_allows():
    assert mean_interval([1, 2, 3, 4, 5], least=1.5, most=4) == Likely(3, 1.5, 4)


def test_equal_images_leave_no_doubt():
    assert mean_interval([7.0] * 10, least=0, most=100) == Likely(7, 7, 7)


def test_a_pilot_of_ten_images():
    # Five images of 150 evaluations and five of 250: mean 200, standard deviation
    # sqrt(10 * 50^2 / 9), t(9) = 2.2621572, so 200 +- 2.2621572 * 50 / 3.
    half = 2.2621572 * 50 / 3
    rows = [
        {"n_evaluations": n, "n_spent": n + 50, "seconds": 0.5 * (n + 50)}
        for n in [150] * 5 + [250] * 5
    ]
    found = estimate(BOUNDS, rows, price=3.0)
    assert found.n_pilot == 10
    each = found.evaluations_per_image
    assert (each.value, each.low, each.high) == (200, near(200 - half), near(200 + half))
    assert found.evaluations.value == 200 * 900
    assert found.evaluations.high == near(900 * (200 + half))
    assert found.seconds_per_evaluation == 0.5
    assert found.worker_hours.value == near(25)  # 180,000 evaluations of half a second
    assert found.gpu_hours.value == near(12.5)  # two workers share a GPU
    assert found.hours.value == near(6.25)  # with four workers
    assert found.hours.low == near(6.25 * (200 - half) / 200)
    assert found.cost.value == near(37.5)


def test_without_gpus_or_a_price_there_is_no_cost():
    rows = [{"n_evaluations": 200, "n_spent": 200, "seconds": 1.0}] * 10
    assert estimate(BOUNDS, rows).cost is None
    assert estimate(BOUNDS, rows).gpu_hours is not None
    on_cores = Bounds(**vars(BOUNDS) | {"gpus_per_worker": 0})
    assert estimate(on_cores, rows).gpu_hours is None
