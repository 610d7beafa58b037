"""The linear probe against scikit-learn, on the same features."""

import numpy as np
import pytest
import torch

from zsd_ray.studies.probes.linear_probe import fit

CPU = torch.device("cpu")


def blobs(n, n_features, n_classes, seed=0, spread=1.5):
    """Classes that overlap; features of very different sizes, correlated; the last is constant."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    centres = np.random.default_rng(1).normal(size=(n_classes, n_features))
    x = centres[labels] + spread * rng.normal(size=(n, n_features))
    x = x @ np.random.default_rng(2).normal(size=(n_features, n_features))
    x = x * np.logspace(-3, 2, n_features) + np.linspace(-50, 50, n_features)
    x[:, -1] = 7.0
    return x.astype(np.float32), labels.astype(np.int64)


def of_scikit_learn(features, labels, l2):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=1 / l2, tol=1e-9, max_iter=20_000)
    return make_pipeline(StandardScaler(), model).fit(features.astype(np.float64), labels)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_it_is_scikit_learns_optimum(n_classes):
    train, labels = blobs(300, 12, n_classes)
    test, _ = blobs(200, 12, n_classes, seed=5)
    strengths = [1.0, 0.01, 100.0]
    for l2, found in zip(strengths, fit(train, labels, strengths, CPU), strict=True):
        theirs = of_scikit_learn(train, labels, l2)
        assert (found.l2, found.converged) == (l2, True)
        expected = theirs.predict_proba(test.astype(np.float64))
        logs = found.log_probabilities(test)
        if n_classes > 2:  # of two, scikit-learn has one weight: half of the penalty
            np.testing.assert_allclose(np.exp(logs), expected, atol=2e-4)
            assert (logs.argmax(axis=1) == theirs.predict(test.astype(np.float64))).all()
            scaler, model = theirs[0], theirs[1]
            ours = found.weight_KD * scaler.scale_
            np.testing.assert_allclose(ours[:, :-1], model.coef_[:, :-1], atol=2e-3)
        else:
            half = of_scikit_learn(train, labels, l2 / 2).predict_proba(test.astype(np.float64))
            np.testing.assert_allclose(np.exp(logs), half, atol=2e-4)


def test_the_gradient_vanishes_at_the_optimum():
    """From the definition, a plain loop over images."""
    train, labels = blobs(60, 4, 3)
    (found,) = fit(train, labels, [2.0], CPU)
    x = train.astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[-1] = 1
    z = (x - mean) / scale
    weight = found.weight_KD * scale
    bias = found.bias_K + found.weight_KD @ mean
    gradient, of_bias = 2.0 * weight, np.zeros(3)
    for row, label in zip(z, labels, strict=True):
        p = np.exp(weight @ row + bias)
        p /= p.sum()
        p[label] -= 1
        gradient += np.outer(p, row)
        of_bias += p
    assert np.abs(gradient).max() < 1e-3
    assert np.abs(of_bias).max() < 1e-3


def test_classes_without_an_image_are_not_told_apart():
    train, labels = blobs(100, 4, 3)
    (found,) = fit(train, labels * 3 + 1, [1.0], CPU)
    assert found.classes.tolist() == [1, 4, 7]
    assert found.log_probabilities(train).shape == (100, 3)
    np.testing.assert_allclose(np.exp(found.log_probabilities(train)).sum(axis=1), 1)


def test_the_order_and_company_of_strengths_do_not_matter():
    train, labels = blobs(200, 6, 4)
    alone = fit(train, labels, [0.5], CPU)[0]
    among = fit(train, labels, [0.5, 50.0, 5.0], CPU)[0]
    test, _ = blobs(100, 6, 4, seed=3)
    np.testing.assert_allclose(
        alone.log_probabilities(test), among.log_probabilities(test), atol=1e-3
    )
