"""A temperature on mean scores: Clark & Jaini 2023; Guo et al. 2017, eq. 9.

Wrong under elimination: a class that fell early has its mean over fewer draws, of other timesteps,
than the prediction has, so what all classes of a draw share does not cancel between the two.
studies/calibration/gap_posterior.py has the way that is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from zsd_ray.studies.calibration.evidence import Array, Evidence
from zsd_ray.studies.calibration.softmax_fit import Softmax, fit


@dataclass(frozen=True)
class Temperature:
    """P(class k) proportional to exp(-mean score of k / temperature)."""

    softmax: Softmax

    @classmethod
    def fit(cls, evidence: Evidence, labels: NDArray[np.int64]) -> Self:
        """Fit by maximum likelihood on images with labels, (N,)."""
        return cls(fit(_means(evidence), labels, evidence.scored))

    def log_probabilities(self, evidence: Evidence) -> Array:
        """Return log probabilities, (N, K)."""
        return self.softmax.log_probabilities(_means(evidence), evidence.scored)

    @property
    def parameters(self) -> dict[str, float]:
        (coefficient,) = self.softmax.coefficients
        return {"temperature": 1 / coefficient} | self.softmax.parameters


def _means(evidence: Evidence) -> Array:
    """(1, N, K); 0 of a class without draws, which stands alone or does not count."""
    return np.where(evidence.draws > 0, evidence.mean_scores, 0.0)[None]
