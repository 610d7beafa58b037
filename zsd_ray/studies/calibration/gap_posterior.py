"""Probabilities from the paired gaps between classes and the prediction, right under elimination.

A gap is the mean of a class's score less the prediction's over the draws that both had, so the
common effect of a draw on all classes cancels, whatever number of draws a class had. It is known
with an error, which is large for a class that fell after a few draws. The model of both is Fisher's
linear discriminant (1936) with errors of measurement that differ: the gap x_k of class k is

    x_k = m_k + e_k,   e_k ~ N(0, v_k),   m_k ~ N(mu, tau^2),   or N(mu - D, tau^2) of the label.

With r_k = tau^2 / (tau^2 + v_k), the share of a gap's variance that is not error, the likelihood
ratio of "k is the label", integrated over m, is

    N(x_k; mu - D, tau^2 + v_k) / N(x_k; mu, tau^2 + v_k) = exp(-(r_k x_k + (1 - r_k) c - c) / T)

with T = tau^2 / D and c = mu - D / 2, so that, all labels being equally likely at first,

    P(k is the label) = softmax_k(-(r_k x_k + (1 - r_k) c) / T).

Where gaps are exact this is softmax(-x / T). An uncertain gap is shrunk towards c. That is the
same as the mean of exp(-m_k / T) over what is known of m_k, N(r_k x_k + (1 - r_k) mu, r_k v_k), and
needs the prior: without it the mean is exp(-x_k / T + v_k / (2 T^2)), and a class would gain from
its error without bound.

That a class fell because its gap was large by its error needs no other correction: given the
scores, when the rule chose to stop says nothing more of m, so the likelihood is that of as many
draws fixed beforehand (the stopping rule principle, Berger & Wolpert 1988); the prior is what keeps
a gap that is large by chance from being believed.

tau^2 needs no labels: it is the variance of the gaps beyond their errors. T and c are fitted to
labels, both free but c >= 0, since gaps are only roughly normal: then a class with no gap below 0
is never more likely than the prediction, whatever its error.

The e_k of an image are not independent: gap_k = y_k - y_p of the class's and the prediction's own
means, and the error of y_p is in all gaps. So the prediction stands as a class of gap 0 with an
error of its own, v_p, and v_k is the squared error of gap k less v_p. Of the least squared error
in the image, the closest rival's, half is taken for v_p. An error from few draws is itself
uncertain; variances are moderated (stats/moderation.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from zsd_ray.stats import moderation
from zsd_ray.stats.moderation import Prior
from zsd_ray.studies.calibration.evidence import Array, Evidence
from zsd_ray.studies.calibration.softmax_fit import Softmax, fit


@dataclass(frozen=True)
class GapPosterior:
    """prior: of the variance of one draw's gap; spread: tau^2; softmax: 1/T and c/T."""

    prior: Prior
    spread: float
    softmax: Softmax

    @classmethod
    def fit(cls, evidence: Evidence, labels: NDArray[np.int64]) -> Self:
        """Fit by maximum likelihood on images with labels, (N,)."""
        seen = evidence.others & np.isfinite(evidence.gap_errors)
        draws = evidence.draws[seen].astype(np.float64)
        prior = moderation.fit(evidence.gap_errors[seen] ** 2 * draws, draws - 1)
        others = evidence.others
        squared = squared_errors(evidence, prior)[others]
        spread = variance_beyond_errors(evidence.gaps[others], squared)
        measures = _measures(evidence, prior, spread)
        return cls(prior, spread, fit(measures, labels, evidence.scored))

    def log_probabilities(self, evidence: Evidence) -> Array:
        """Return log probabilities, (N, K)."""
        measures = _measures(evidence, self.prior, self.spread)
        return self.softmax.log_probabilities(measures, evidence.scored)

    @property
    def parameters(self) -> dict[str, float]:
        inverse, constant = self.softmax.coefficients
        return {
            "temperature": 1 / inverse,
            "centre": constant / inverse,
            "spread": float(np.sqrt(self.spread)),
        } | self.softmax.parameters


def squared_errors(evidence: Evidence, prior: Prior) -> Array:
    """(N, K), the moderated squared error of each gap; 0 of the prediction, and if nothing tells.

    The variance of one draw is the mean of the sample's and the prior's, weighted by their degrees
    of freedom (Smyth 2004, section 3), and a mean of n draws has its n-th part.
    """
    draws = np.maximum(evidence.draws, 1)
    df = np.where(np.isfinite(evidence.gap_errors), draws - 1.0, 0.0)
    own = np.where(df > 0, evidence.gap_errors**2 * draws, 0.0)
    together = np.maximum(df + prior.df, np.finfo(np.float64).tiny)
    variance = (df * own + prior.df * prior.variance) / together
    return np.where(evidence.others, variance / draws, 0.0)


def variance_beyond_errors(gaps: Array, squared: Array) -> float:
    """tau^2, from (M,) gaps ~ N(mu, tau^2 + squared error): of most likelihood over mu and tau^2.

    1 where all gaps are alike: then it changes nothing.
    """
    total = float(gaps.var()) if gaps.size else 0.0
    if total == 0:
        return 1.0

    def loss(log_spread: float) -> float:
        variance = np.exp(log_spread) + squared
        mu = np.average(gaps, weights=1 / variance)
        return float((np.log(variance) + (gaps - mu) ** 2 / variance).sum())

    middle = np.log(total)
    found = minimize_scalar(loss, bounds=(middle - 12, middle + 2), method="bounded")
    return float(np.exp(found.x))


def _measures(evidence: Evidence, prior: Prior, spread: float) -> Array:
    """(2, N, K): r x and 1 - r of each class; nan where it had no draws."""
    squared = squared_errors(evidence, prior)
    others = evidence.others
    least = np.where(others, squared, np.inf).min(axis=1, keepdims=True)
    of_prediction = np.where(np.isfinite(least), least / 2, 0.0)
    v = np.where(others, squared - of_prediction, of_prediction)
    r = spread / (spread + v)
    return np.stack([r * evidence.gaps, 1 - r])
