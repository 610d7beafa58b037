"""Probabilities of classes as a softmax of a few measures of each, by maximum likelihood.

Shapes: N images, K classes, F measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEAST = 1e-6
"""Of the first coefficient times its measure's spread: at 0, a temperature would be infinite."""


@dataclass(frozen=True)
class Softmax:
    """P(class k) proportional to exp(-sum_f coefficients[f] measures[f, k]), of the scored classes.

    left_out: what the classes without draws share alike, in an image that has some; n_left_out: the
        images that it was fitted to.
    """

    coefficients: tuple[float, ...]
    left_out: float
    n_left_out: int

    def log_probabilities(self, measures_FNK: Array, scored_NK: Mask) -> Array:
        """(N, K), each row a distribution; never -inf."""
        measures = np.where(scored_NK, measures_FNK, 0.0)
        logs = _log_softmax(np.array(self.coefficients), measures, scored_NK)
        n_without = np.count_nonzero(~scored_NK, axis=1)
        some = n_without > 0
        logs[some] += np.log1p(-self.left_out)
        each = np.log(self.left_out) - np.log(np.maximum(n_without, 1))
        return np.where(scored_NK, logs, each[:, None])

    @property
    def parameters(self) -> dict[str, float]:
        """The share left out, where there was anything to fit it to."""
        return {"left_out": self.left_out} if self.n_left_out else {}


def fit(measures_FNK: Array, labels_N: NDArray[np.int64], scored_NK: Mask) -> Softmax:
    """Choose coefficients, none of them negative, and the share left out, of most likelihood.

    The likelihood falls into two factors. Whether the label had draws: of the images with classes
    that had none, the share by Laplace's rule of succession. And which of the scored classes it is:
    the coefficients. Where every label has the least measure, that has no maximum; so, by the same
    rule, one thing more is taken as seen: that the label of one of the images, whichever it was,
    had been another class. Then about one label in N is doubted where all are right.

    Args:
        measures_FNK: finite where scored; the rest is not looked at.
    """
    images = np.arange(len(labels_N))
    known = scored_NK[images, labels_N]
    partly = ~scored_NK.all(axis=1)
    n_left_out = int(np.count_nonzero(partly))
    left_out = (int(np.count_nonzero(partly & ~known)) + 1) / (n_left_out + 2)
    n_scored = np.count_nonzero(scored_NK, axis=1)
    use = np.flatnonzero(known & (n_scored > 1))
    start = np.ones(len(measures_FNK))
    if not len(use):
        return Softmax(tuple(start.tolist()), left_out, n_left_out)
    scored, labels = scored_NK[use], labels_N[use]
    measures = np.where(scored, measures_FNK[:, use], 0.0)
    spreads = np.array([_spread(measure, scored) for measure in measures])
    # Centred, so that no digits are lost to what all classes of an image share; and in units of
    # their spread, so that one start and one tolerance serve every scale of scores.
    centres = measures.sum(axis=2, keepdims=True) / n_scored[use, None]
    measures = np.where(scored, measures - centres, 0.0) / spreads[:, None, None]
    own = np.arange(len(use)), labels
    at_label = measures[:, own[0], own[1]]

    def loss(coefficients: Array) -> tuple[float, Array]:
        logs = _log_softmax(coefficients, measures, scored)
        expected = (np.exp(logs) * measures).sum(axis=2)
        of_label = logs[own]
        logs[own] = -np.inf
        another = logsumexp(logs)  # the logarithm of N times P(another class)
        value = -of_label.sum() - another
        weights = 1 - np.exp(of_label - another)
        return float(value), ((at_label - expected) * weights).sum(axis=1)

    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LEAST, None), *[(0.0, None)] * (len(start) - 1)],
        options={"ftol": 1e-12, "gtol": 1e-9, "maxiter": 1000},
    )
    return Softmax(tuple((found.x / spreads).tolist()), left_out, n_left_out)


def _log_softmax(coefficients_F: Array, measures_FNK: Array, scored_NK: Mask) -> Array:
    """Over the scored classes of each image; -inf for the others."""
    logits = np.where(scored_NK, -np.tensordot(coefficients_F, measures_FNK, axes=1), -np.inf)
    logs: Array = logits - logsumexp(logits, axis=1, keepdims=True)
    return logs


def _spread(measure_NK: Array, scored_NK: Mask) -> float:
    """The typical distance of a class from the least of its image; 1 where all are alike."""
    least = np.where(scored_NK, measure_NK, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    above = (measure_NK - least)[scored_NK]
    above = above[above > 1e-9 * np.abs(measure_NK).max(initial=0.0)]  # less is rounding
    return float(np.median(above)) if above.size else 1.0
