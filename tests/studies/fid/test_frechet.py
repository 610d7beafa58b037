"""FID against the closed form, scipy's matrix square root, and torch-fidelity."""

import numpy as np
import pytest
import scipy.linalg

from tests.support.fidelity import fidelity
from zsd_ray.studies.fid.frechet import Reference, interval, jackknife_error, merged
from zsd_ray.studies.fid.moments import Moments


def moments(mean, covariance, n=1000):
    """Given exactly."""
    return Moments(n, np.asarray(mean, float), np.asarray(covariance, float) * (n - 1))


def random_covariance(size, rank, seed):
    factor = np.random.default_rng(seed).standard_normal((size, rank))
    return factor @ factor.T / rank


def test_closed_form_of_two_gaussians():
    """Covariances that commute: |m - m'|^2 + sum_i (s_i - s'_i)^2."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    one, other = np.array([1.0, 2, 3, 0.5, 0.1]), np.array([2.0, 2, 1, 0.0, 0.4])
    first = moments(np.zeros(5), rotation @ np.diag(one**2) @ rotation.T)
    second = moments(np.arange(5), rotation @ np.diag(other**2) @ rotation.T)
    expected = 30 + np.square(one - other).sum()
    assert Reference(first).distance(second) == pytest.approx(expected, rel=1e-8)
    assert Reference(second).distance(first) == pytest.approx(expected, rel=1e-8)
    assert Reference(first).distance(first) == pytest.approx(0, abs=1e-7)


def test_sampled_moments_come_to_the_closed_form():
    random = np.random.default_rng(1)
    real = random.standard_normal((200_000, 3)) * [1, 2, 3]
    generated = random.standard_normal((200_000, 3)) * [2, 2, 2] + [1, 0, 0]
    found = Reference(Moments.of(real)).distance(Moments.of(generated))
    assert found == pytest.approx(1 + 1 + 0 + 1, rel=0.02)


@pytest.mark.parametrize(("rank", "other"), [(30, 30), (8, 30), (8, 5)])
def test_it_is_that_of_scipy_and_of_torch_fidelity(rank, other):
    """Also where covariances are of less than full rank."""
    first = moments(np.zeros(20), random_covariance(20, rank, 2))
    second = moments(np.ones(20) / 3, random_covariance(20, other, 3))
    ours = Reference(first).distance(second)
    root = scipy.linalg.sqrtm(first.covariance @ second.covariance)
    traces = np.trace(first.covariance + second.covariance) - 2 * np.trace(root).real
    assert ours == pytest.approx(20 / 9 + traces, rel=1e-5)
    stats = [{"mu": m.mean, "sigma": m.covariance} for m in (first, second)]
    theirs = fidelity("metric_fid").fid_statistics_to_metric(*stats, verbose=False)
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)


def test_the_jackknifes_error_is_how_much_other_images_change_it():
    random = np.random.default_rng(4)
    reference = Reference(moments(np.zeros(4), np.eye(4)))

    def groups():
        images = random.standard_normal((400, 4)) * [1, 1.2, 0.7, 1] + 0.3
        return [Moments.of(images[g::10]) for g in range(10)]

    drawn = [groups() for _ in range(150)]
    distances = [reference.distance(merged(each)) for each in drawn]
    errors = [jackknife_error(reference, each) for each in drawn]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(distances), rel=0.15)
    truth = 4 * 0.3**2 + 0.2**2 + 0.3**2
    ends = [interval(d, e, 10) for d, e in zip(distances, errors, strict=True)]
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert covered > 0.85  # 95 %, but for the bias


def test_an_interval_is_not_below_nothing():
    assert interval(0.1, 1.0, 10)[0] == 0
