"""Platt scaling on the number of evaluations: Clark & Jaini 2023; Platt 1999.

An image that took many evaluations was hard. This gives the confidence of a prediction, and no
probabilities of the other classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Platt:
    """P(the prediction is right) = 1 / (1 + exp(-(intercept + slope log(n_evaluations)))).

    The logarithm, since numbers of evaluations span decades and cost per image is skewed.
    """

    intercept: float
    slope: float

    @classmethod
    def fit(cls, n_evaluations: ArrayLike, correct: ArrayLike) -> Self:
        """Fit by maximum likelihood from (N,) numbers and (N,) bool, with the targets of Platt
        1999, section 2.2: (N+ + 1)/(N+ + 2) for a right prediction and 1/(N- + 2) for a wrong one,
        so that it ends where all are right. Where all images cost the same, the slope is 0.
        """
        logs = _logs(n_evaluations)
        right = np.asarray(correct, dtype=bool)
        n_right = int(np.count_nonzero(right))
        targets = np.where(right, (n_right + 1) / (n_right + 2), 1 / (len(right) - n_right + 2))
        centre, spread = float(logs.mean()), float(logs.std())
        x = (logs - centre) / spread if spread > 1e-9 else np.zeros(len(logs))

        def loss(line: Array) -> tuple[float, Array]:
            z = line[0] + line[1] * x
            value = -(targets * log_expit(z) + (1 - targets) * log_expit(-z)).mean()
            miss = expit(z) - targets
            return value, np.array([miss.mean(), (miss * x).mean()])

        found = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9})
        at_centre, slope = found.x.tolist()
        slope = slope / spread if spread > 1e-9 else 0.0
        return cls(at_centre - slope * centre, slope)

    def log_odds(self, n_evaluations: ArrayLike) -> Array:
        """(N,), of the prediction being right."""
        return self.intercept + self.slope * _logs(n_evaluations)

    @property
    def parameters(self) -> dict[str, float]:
        return {"intercept": self.intercept, "slope": self.slope}


def _logs(n_evaluations: ArrayLike) -> Array:
    """Return logarithms of evaluations; an image decided by a screen alone has none, and counts as
    one."""
    return np.log(np.maximum(np.asarray(n_evaluations, dtype=np.float64), 1))
