"""The nearest neighbours' vote against scikit-learn, on the same features."""

import numpy as np
import pytest
import torch

from zsd_ray.studies.probes import nearest
from zsd_ray.studies.probes.nearest import votes

CPU = torch.device("cpu")


def data(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, n)
    centres = np.random.default_rng(9).normal(size=(6, 5))
    return (centres[labels] + 1.5 * rng.normal(size=(n, 5))).astype(np.float32), labels


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_it_is_scikit_learns_vote(metric, monkeypatch):
    from sklearn.neighbors import KNeighborsClassifier

    monkeypatch.setattr(nearest, "_NUMBERS_AT_ONCE", 700)  # several pieces
    (train, labels), (test, _) = data(200, 0), data(150, 1)
    found = votes(train, labels, test, [1, 4, 15], metric, 6, CPU)
    for k, counts in zip([1, 4, 15], found, strict=True):
        theirs = KNeighborsClassifier(k, metric=metric, algorithm="brute")
        theirs.fit(train.astype(np.float64), labels)
        shares = theirs.predict_proba(test.astype(np.float64))
        assert counts.shape == (150, 6)
        np.testing.assert_allclose(counts / k, shares)
        assert (counts.argmax(axis=1) == theirs.predict(test.astype(np.float64))).all()


def test_it_is_the_count_of_a_plain_loop():
    (train, labels), (test, _) = data(40, 2), data(20, 3)
    (counts,) = votes(train, labels, test, [7], "euclidean", 6, CPU)
    for row, count in zip(test, counts, strict=True):
        order = np.argsort([((row - other) ** 2).sum() for other in train])
        assert count.tolist() == np.bincount(labels[order[:7]], minlength=6).tolist()
