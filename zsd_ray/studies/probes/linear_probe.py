"""Multinomial logistic regression on standardised features, for many images and features at once.

Shapes: N images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

_MOST_STEPS = 2000
_GRADIENT = 1e-7  # of the mean loss, at which the optimum is reached


@dataclass(frozen=True)
class LinearProbe:
    """P(class k) = softmax_k(weight_k . x + bias_k), of features as they are.

    classes: (K,) int64, the labels that it distinguishes, ascending; weights and biases are
        float64.
    l2: the strength that it was fitted with; converged: whether that came to the optimum.
    """

    classes: NDArray[np.int64]
    weight_KD: NDArray[np.float64]
    bias_K: NDArray[np.float64]
    l2: float
    converged: bool

    def log_probabilities(self, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return log probabilities, (N, K)."""
        logits = torch.from_numpy(features_ND.astype(np.float64) @ self.weight_KD.T + self.bias_K)
        logs: NDArray[np.float64] = logits.log_softmax(dim=1).numpy()
        return logs


def fit(
    features_ND: NDArray[np.float32],
    labels_N: NDArray[np.int64],
    strengths: Sequence[float],
    device: torch.device,
) -> list[LinearProbe]:
    """Fit one probe for each strength of the penalty, in the order given.

    Each minimises sum_n -log P(label_n) + l2 / 2 ||W||^2, where W weighs features of mean 0 and
    variance 1; biases are free. That is scikit-learn's LogisticRegression of C = 1 / l2 behind a
    StandardScaler. The minimum is unique, so that the start of the descent (L-BFGS, Liu & Nocedal
    1989), which is the next stronger penalty's, does not change it.

    Args:
        labels_N: at least two kinds. A class without an image is left out.
    """
    classes, targets_N = np.unique(labels_N, return_inverse=True)
    x, mean_D, scale_D = _standardised(torch.from_numpy(features_ND).to(device))
    targets = torch.from_numpy(targets_N).to(device)
    n, n_features = x.shape
    n_classes = len(classes)
    own = torch.nn.functional.one_hot(targets, n_classes).to(x.dtype)

    def loss(flat: NDArray[np.float64], l2: float) -> tuple[float, NDArray[np.float64]]:
        both = torch.from_numpy(flat).to(device).view(n_classes, n_features + 1)
        weight, bias = both[:, :-1], both[:, -1]
        logs = (x @ weight.T + bias).log_softmax(dim=1)
        value = (l2 / 2 * weight.square().sum() - (own * logs).sum()) / n
        wrong = (logs.exp() - own) / n
        gradient = torch.cat([wrong.T @ x + l2 / n * weight, wrong.sum(dim=0)[:, None]], dim=1)
        return float(value), gradient.flatten().cpu().numpy()

    found: dict[float, LinearProbe] = {}
    flat = np.zeros(n_classes * (n_features + 1))
    for l2 in sorted(set(strengths), reverse=True):
        end = minimize(
            loss,
            flat,
            args=(l2,),
            jac=True,
            method="L-BFGS-B",
            options={"gtol": _GRADIENT, "ftol": 1e-12, "maxiter": _MOST_STEPS, "maxfun": 10**6},
        )
        flat = end.x
        both = flat.reshape(n_classes, n_features + 1)
        weight_KD = both[:, :-1] / scale_D
        bias_K = both[:, -1] - weight_KD @ mean_D
        found[l2] = LinearProbe(classes, weight_KD, bias_K, l2, bool(end.success))
    return [found[l2] for l2 in strengths]


def _standardised(
    features_ND: torch.Tensor,
) -> tuple[torch.Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """Return features of mean 0 and variance 1, float64; their means, and their divisors."""
    x = features_ND.double()
    mean = x.mean(dim=0)
    x -= mean
    scale = x.square().mean(dim=0).sqrt()
    # A feature that does not vary: what is left of it is rounding.
    scale[scale <= 1e-12 * mean.abs()] = 1.0
    scale[scale == 0] = 1.0
    x /= scale
    return x, mean.cpu().numpy(), scale.cpu().numpy()
