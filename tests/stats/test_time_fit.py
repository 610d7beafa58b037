"""Fits by bucket of t, against plain loops and a general optimiser."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import softmax

from zsd_ray.stats.time_fit import (
    PRIOR_SD,
    SHARE,
    Signal,
    Spread,
    bucket_means,
    deviations,
    informative,
    learned_weights,
)

B, K = 4, 3


def test_deviations_are_from_the_mean_over_classes():
    errors = np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]], dtype=np.float32)
    assert deviations(errors).tolist() == [[-2, -1, 3], [-1, -1, 2]]


def test_the_spread_is_the_pooled_sd_over_classes_of_a_draw():
    rng = np.random.default_rng(0)
    spread, draws = Spread(B), {b: [] for b in range(B)}
    for n_classes in (3, 5, 2):  # a screen leaves images different classes
        errors, buckets = rng.normal(size=(7, n_classes)), rng.integers(B, size=7)
        spread.add(deviations(errors), buckets)
        for b, row in zip(buckets, errors, strict=True):
            draws[b].append(row)
    for b, found in enumerate(spread.sd()):
        squares = sum(np.var(row) * len(row) for row in draws[b])
        assert found == pytest.approx(np.sqrt(squares / sum(len(row) - 1 for row in draws[b])))


def test_the_spread_is_that_of_paired_differences():
    """Half the mean square difference of two classes is the variance over classes."""
    errors = np.random.default_rng(1).normal(size=(50, K))
    spread = Spread(1)
    spread.add(deviations(errors), np.zeros(50, dtype=int))
    pairs = [(errors[:, i] - errors[:, j]) ** 2 for i in range(K) for j in range(i)]
    assert spread.sd()[0] == pytest.approx(np.sqrt(np.mean(pairs) / 2))


def test_buckets_without_a_draw_or_a_difference_are_interpolated():
    spread = Spread(6)
    for b, scale in ((1, 2.0), (4, 8.0)):
        spread.add(np.array([[-scale, scale]]) / np.sqrt(2), np.array([b]))
    spread.add(np.zeros((1, 2)), np.array([2]))
    np.testing.assert_allclose(spread.sd(), [2, 2, 4, 6, 8, 8])


def test_a_spread_of_nothing_is_an_error():
    spread = Spread(2)
    spread.add(np.zeros((3, 1)), np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="tells two classes apart"):
        spread.sd()


def test_the_signal_is_the_mean_gap_to_other_classes_over_its_sd():
    rng = np.random.default_rng(6)
    signal, gaps = Signal(B), {b: [] for b in range(B)}
    for decision, n_classes in ((0, 3), (4, 5), (1, 2)):  # a screen leaves images different classes
        errors, buckets = rng.normal(size=(9, n_classes)), rng.integers(B, size=9)
        errors[:, decision] -= 1
        signal.add(deviations(errors), buckets, decision)
        for b, row in zip(buckets, errors, strict=True):
            gaps[b] += [row[k] - row[decision] for k in range(n_classes) if k != decision]
    for b, found in enumerate(signal.values()):
        assert found == pytest.approx(np.mean(gaps[b]) / np.std(gaps[b]))


def test_a_signal_does_not_depend_on_the_scale_of_errors():
    errors = np.random.default_rng(7).normal(size=(40, K)) + np.arange(3)
    found = []
    for scale in (1.0, 1e-4):
        signal = Signal(1)
        signal.add(deviations(scale * errors), np.zeros(40, dtype=int), 0)
        found.append(signal.values()[0])
    assert found[0] == pytest.approx(found[1])


def test_a_bucket_in_which_nothing_differs_has_its_neighbours_signal():
    signal = Signal(5)
    errors = np.random.default_rng(8).normal(size=(30, K)) + np.arange(3)
    for b, shift in ((1, 0.0), (3, 2.0)):
        signal.add(deviations(errors + np.array([0, shift, shift])), np.full(30, b), 0)
    signal.add(np.zeros((4, K)), np.full(4, 2), 0)  # no difference; none at all in 0 and 4
    found = signal.values()
    assert 0 < found[1] < found[3]
    assert found[2] == pytest.approx((found[1] + found[3]) / 2)
    assert (found[0], found[4]) == (found[1], found[3])


def test_a_signal_against_the_decision_is_none():
    signal = Signal(1)
    errors = np.random.default_rng(9).normal(size=(30, K)) + np.array([5, 0, 0])
    signal.add(deviations(errors), np.zeros(30, dtype=int), 0)
    assert signal.values().tolist() == [0]


@pytest.mark.parametrize(
    ("signal", "first", "end"),
    [
        ([1.0] * 6, 0, 6),
        ([0.1] * 5 + [1.0] * 10 + [0.1] * 5, 6, 14),
        ([1.0] * 10 + [0.1] * 10, 0, 9),
        ([0.1] * 10 + [1.0] * 10, 11, 20),
        ([1.0] * 4 + [0.5] + [1.0] * 4, 0, 9),  # a dip is noise, or not worth a hole
        ([0.3], 0, 1),
    ],
)
def test_times_are_informative_between_the_ends_of_a_strong_signal(signal, first, end):
    assert informative(np.array(signal)) == slice(first, end)


def test_a_signal_that_nothing_tells_is_the_same_everywhere():
    signal = Signal(3)
    signal.add(np.array([[0.5, -0.5]]), np.array([1]), 1)  # one gap has no spread
    assert signal.values().tolist() == [1.0, 1.0, 1.0]


def test_one_lucky_bucket_does_not_make_the_range_its_own():
    signal = np.ones(20)
    signal[12] = 2.2
    found = informative(signal)
    assert (found.start, found.stop) == (0, 20)


def test_informative_buckets_are_those_of_a_plain_loop():
    rng = np.random.default_rng(10)
    for _ in range(200):
        signal = rng.uniform(0.1, 1, size=rng.integers(1, 21))
        n = len(signal)
        smooth = [
            sum(signal[min(max(b + step, 0), n - 1)] for step in range(-2, 3)) / 5 for b in range(n)
        ]
        strong = [b for b in range(n) if smooth[b] >= SHARE * max(smooth)]
        assert informative(signal) == slice(strong[0], strong[-1] + 1)


def test_bucket_means_are_plain_means():
    rng = np.random.default_rng(2)
    values, buckets = rng.normal(size=(20, K)), rng.choice([0, 1, 3], size=20)
    found = bucket_means(values, buckets, B)
    for b in (0, 1, 3):
        np.testing.assert_allclose(found[b], values[buckets == b].mean(axis=0))
    assert found[2].tolist() == [0] * K


def simulated(weights, n, seed):
    """Features, and labels drawn from the model itself."""
    rng = np.random.default_rng(seed)
    features = deviations(rng.normal(size=(n * len(weights), K)) * 2).reshape(n, -1, K)
    p = softmax(-np.einsum("nbk,b->nk", features, weights), axis=1)
    return features, np.array([rng.choice(K, p=row) for row in p])


def test_learned_weights_are_those_that_made_the_labels():
    truth = np.array([0.0, 0.3, 1.5, 0.7])
    found = learned_weights(*simulated(truth, 6000, 3))
    np.testing.assert_allclose(found, truth, atol=0.1)


def test_learned_weights_are_the_optimum_of_the_plain_loss():
    features, labels = simulated(np.array([0.0, 0.4, 1.0, -0.5]), 60, 4)
    features[:, 3] *= 50  # the scale of a feature is its own business

    def loss(w):
        scale = np.sqrt((features**2).mean(axis=(0, 2)))
        total = sum((w * scale) ** 2) / (2 * PRIOR_SD**2)
        for x, y in zip(features, labels, strict=True):
            logits = [-sum(w[b] * x[b, k] for b in range(B)) for k in range(K)]
            total += np.log(sum(np.exp(logits))) - logits[y]
        return total

    found = learned_weights(features, labels)
    assert (found >= 0).all()
    assert found[3] == 0  # its sign is wrong
    best = optimize.minimize(loss, found, method="Nelder-Mead", bounds=[(0, None)] * B)
    assert loss(found) <= best.fun + 1e-6
    for b in range(B):
        other = found.copy()
        other[b] += 1e-3 * (1 + found[b])
        assert loss(other) > loss(found)


def test_weights_stay_finite_where_no_image_is_wrong():
    features = np.tile(np.array([[[-1.0, 0.5, 0.5]]]), (30, B, 1))
    found = learned_weights(features, np.zeros(30, dtype=int))
    assert (found > 0).all()
    assert (found < 10 * PRIOR_SD).all()


def test_a_bucket_without_draws_gets_its_neighbours_weight():
    features, labels = simulated(np.array([0.5, 1.0, 1.0, 0.2]), 500, 5)
    features[:, 1] = 0
    found = learned_weights(features, labels)
    assert found[1] == pytest.approx((found[0] + found[2]) / 2)


@pytest.mark.parametrize("n", [0, 5])
def test_features_of_nothing_are_an_error(n):
    with pytest.raises(ValueError, match="tells two classes apart"):
        learned_weights(np.zeros((n, B, K)), np.zeros(n, dtype=int))
