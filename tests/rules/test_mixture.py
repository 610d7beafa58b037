"""Evidence and bounds against the integrals and roots that their closed forms stand for."""

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

from zsd_ray.rules.gaps import Gaps
from zsd_ray.rules.mixture import half_width, log_evidence
from zsd_ray.stats.moderation import NOTHING, Prior


def likelihood(x, delta, prior):
    """Of x under mean delta * sigma, integrated over sigma with its prior (times a constant)."""
    n, d, s2 = len(x), prior.df, prior.variance

    def integrand(log_sigma):
        sigma2 = np.exp(2 * log_sigma)
        log = -0.5 * ((x - delta * np.sqrt(sigma2)) ** 2).sum() / sigma2 - 0.5 * n * np.log(sigma2)
        return np.exp(log - 0.5 * d * s2 / sigma2 - 0.5 * d * np.log(sigma2))

    centre = 0.5 * np.log((np.square(x).sum() + d * s2) / (n + d))
    value, _ = scipy.integrate.quad(
        integrand, centre - 8, centre + 8, points=[centre], epsrel=1e-10, limit=400
    )
    return value


def integrated(x, prior, scale):
    """The evidence by brute force: half-normal over delta."""
    deltas = np.linspace(0, 8 * scale, 1601)
    values = [likelihood(x, delta, prior) for delta in deltas]
    density = 2 * scipy.stats.norm.pdf(deltas, scale=scale)
    mixture = scipy.integrate.simpson(values * density, x=deltas)
    return np.log(mixture / likelihood(x, 0.0, prior))


def gaps_of(x):
    """Class 1 against a leader that scores 0 always."""
    return Gaps.of(np.column_stack([np.zeros(len(x)), x]))


@pytest.mark.few(2)
@pytest.mark.parametrize("prior", [NOTHING, Prior(4.0, 0.7)])
@pytest.mark.parametrize(("n", "mean"), [(3, 1.5), (6, 0.2), (9, 0.8)])
def test_evidence_is_the_integral(n, mean, prior):
    x = mean + np.random.default_rng(n).normal(size=n)
    x *= np.sign(x.mean())
    found = log_evidence(gaps_of(x), prior, scale=0.9)[1]
    assert found == pytest.approx(integrated(x, prior, 0.9), abs=1e-5)


def test_equal_scores_tell_nothing():
    scores = np.array([[0.0, 1.0, 0.0], [5.0, 6.0, 5.0]])
    found = log_evidence(Gaps.of(scores), NOTHING, 1.0)
    assert found[[0, 2]].tolist() == [0.0, 0.0]
    assert found[1] > 0


@pytest.mark.parametrize("prior", [NOTHING, Prior(6.0, 1.3)])
def test_the_bound_is_where_the_two_sided_ratio_reaches_its_limit(prior):
    x = 0.4 + np.random.default_rng(1).normal(size=25)
    n, scale, alpha = len(x), 0.5, 0.02
    width, deviation = half_width(gaps_of(x), prior, scale, alpha)
    g = scale**2 / (1 + n * scale**2)

    def excess(m):
        total = (x - m).sum()
        spread = prior.df * prior.variance + ((x - m) ** 2).sum()
        log_ratio = -0.5 * np.log(1 + n * scale**2) - 0.5 * (n + prior.df) * np.log(
            1 - total**2 * g / spread
        )
        return log_ratio - np.log(1 / alpha)

    edge = scipy.optimize.brentq(excess, x.mean(), x.mean() + 10)
    assert width[1] == pytest.approx(edge - x.mean(), rel=1e-9)
    moderated = (prior.df * prior.variance + n * x.var()) / (n - 1 + prior.df)
    assert deviation[1] == pytest.approx(np.sqrt(moderated))


def test_the_bound_is_infinite_while_too_little_was_seen():
    width, _ = half_width(gaps_of(np.array([1.0, 2.0])), NOTHING, 0.5, 0.01)
    assert width[1] == np.inf
