"""KID against a plain double loop, and torch-fidelity."""

from itertools import product

import numpy as np
import pytest
import torch

from tests.support.fidelity import fidelity
from zsd_ray.studies.fid import kernel_distance as kid
from zsd_ray.studies.fid.kernel_distance import kernel_distance, squared_mmd


def features(n, seed, scale=1.0, size=5):
    return scale * np.random.default_rng(seed).standard_normal((n, size))


def test_squared_mmd_is_the_double_loops():
    x, y = features(7, 0), features(9, 1, 1.5)

    def k(a, b):
        return (np.dot(a, b) / 5 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i, j in product(range(7), repeat=2) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i, j in product(range(9), repeat=2) if i != j])
    between = np.mean([k(a, b) for a, b in product(x, y)])
    assert squared_mmd(x, y) == pytest.approx(within_x + within_y - 2 * between, rel=1e-12)
    assert squared_mmd(x, y[:7]) == pytest.approx(
        fidelity("metric_kid").kernel_mmd(x, y[:7]), rel=1e-9
    )


def test_the_mean_over_subsets_is_torch_fidelitys(monkeypatch):
    monkeypatch.setattr(kid, "SUBSET", 50)
    x, y = features(300, 2), features(400, 3, 1.2)
    ours = kernel_distance(x, y, seed=0)
    theirs = fidelity("metric_kid").kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=400, kid_subset_size=50, verbose=False
    )["kernel_inception_distance_mean"]
    assert ours.mean == pytest.approx(theirs, abs=4 * ours.standard_error)
    assert ours.mean == pytest.approx(squared_mmd(x, y), abs=4 * ours.standard_error)
    assert (ours.subset, ours.n_subsets) == (50, 100)
    assert kernel_distance(x, y, seed=0) == ours != kernel_distance(x, y, seed=1)


def test_it_is_unbiased():
    """Of two sets of the same kind it is 0 on average, and so below 0 at times."""
    found = [squared_mmd(features(20, n), features(20, 1000 + n)) for n in range(300)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(300)
    assert min(found) < 0 < max(found)


def test_two_sets_of_one_subset_have_no_error():
    x, y = features(30, 4), features(30, 5)
    found = kernel_distance(x, y, seed=0)
    assert found.mean == pytest.approx(squared_mmd(x, y), rel=1e-9)
    assert (found.standard_error, found.subset, found.n_subsets) == (None, 30, 1)
    assert kernel_distance(x, features(40, 6), seed=0).n_subsets == kid.N_SUBSETS
