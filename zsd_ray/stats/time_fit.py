"""Statistics of saved errors for each bucket of t: their spread, signal and weights.

Shapes: N images, D draws of one image, K classes, B buckets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

Array = NDArray[np.float64]
Buckets = NDArray[np.intp]

PRIOR_SD = 10.0
"""Of a weight whose feature has a root mean square of 1: so little says nothing where labels say
something, and bounds the weights where no image is wrong."""

SHARE = 0.7
"""Of the strongest signal (benchmarks/efficiency.py). A draw at such a time is worth half of one at
the best."""


def deviations(errors_DK: NDArray[np.floating]) -> Array:
    """Return errors less their mean over the classes of their draw, (D, K) float64."""
    errors = np.asarray(errors_DK, dtype=np.float64)
    centred: Array = errors - errors.mean(axis=1, keepdims=True)
    return centred


class Spread:
    """The standard deviation, within a draw, of errors over classes, by bucket.

    Pooled over draws of all images: sqrt(sum of squared deviations / sum of (K - 1)). It is also
    sqrt(1/2) of the root mean square difference of two classes. It includes the mean differences
    of classes as well as noise: so one draw of an image in a bucket is enough, and the variance of
    importance sampling depends on it (diffusion/time_density.py).
    """

    def __init__(self, n_buckets: int) -> None:
        self._squares = np.zeros(n_buckets)
        self._freedom = np.zeros(n_buckets)

    def add(self, deviations_DK: Array, bucket_D: Buckets) -> None:
        """Take some draws of one image."""
        np.add.at(self._squares, bucket_D, (deviations_DK**2).sum(axis=1))
        np.add.at(self._freedom, bucket_D, deviations_DK.shape[1] - 1)

    def sd(self) -> Array:
        """Return the standard deviation, (B,), interpolated without draws or differences.

        Raises:
            ValueError: there was no difference in any bucket.
        """
        if not self._squares.any():
            raise ValueError("no draw tells two classes apart")
        with np.errstate(invalid="ignore"):
            sd = np.sqrt(self._squares / self._freedom)
        return _interpolated(sd, self._squares > 0)


class Signal:
    """How well a draw distinguishes a wrong class from the image's decision, by bucket.

    The mean of the gaps to that class over their standard deviation, pooled over draws of all
    images and the other classes; labels are not used. Evidence grows with its square.
    """

    def __init__(self, n_buckets: int) -> None:
        self._sums = np.zeros((3, n_buckets))  # of 1, gaps, squared gaps

    def add(self, deviations_DK: Array, bucket_D: Buckets, decision: int) -> None:
        """Take some draws of one image, decided as class `decision`."""
        gaps = deviations_DK - deviations_DK[:, decision, None]
        n = np.full(len(gaps), gaps.shape[1] - 1.0)
        for total, values in zip(
            self._sums, (n, gaps.sum(axis=1), (gaps**2).sum(axis=1)), strict=True
        ):
            np.add.at(total, bucket_D, values)

    def values(self) -> Array:
        """Return the signal, (B,), 0 or more; interpolated without draws or differences.

        If no bucket has enough draws, it is 1 in all: none is known to be better.
        """
        n, total, squares = self._sums
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / n
            signal = mean / np.sqrt(squares / n - mean**2)
        known = np.isfinite(signal)
        if not known.any():
            return np.ones_like(signal)
        return np.maximum(_interpolated(signal, known), 0.0)


def informative(signal_B: Array) -> slice:
    """Return the buckets from the first to the last whose signal is SHARE of the strongest.

    Each counts as the mean of itself and its neighbours up to two away: a run has few draws in
    any one bucket, and a range that follows its noise would be a narrow one.
    """
    padded = np.pad(signal_B, 2, mode="edge")
    smooth = np.convolve(padded, np.full(5, 0.2), mode="valid")
    strong = np.flatnonzero(smooth >= SHARE * smooth.max())
    return slice(int(strong[0]), int(strong[-1]) + 1)


def bucket_means(deviations_DK: Array, bucket_D: Buckets, n_buckets: int) -> Array:
    """Return the mean deviation of each class in each bucket, (B, K); 0 where there is no draw."""
    total = np.zeros((n_buckets, deviations_DK.shape[1]))
    np.add.at(total, bucket_D, deviations_DK)
    count = np.bincount(bucket_D, minlength=n_buckets)
    means: Array = total / np.maximum(count, 1)[:, None]
    return means


def learned_weights(features_NBK: Array, labels_N: NDArray[np.integer]) -> Array:
    """Fit P(class k) = softmax_k(-sum_b w_b f_bk) with w >= 0 to labels; return w, (B,).

    f_bk is the mean error of class k in bucket b (Clark & Jaini 2023, their learned weighting:
    20 buckets, a logistic model). Maximum a posteriori under a normal prior of PRIOR_SD; the
    problem is convex. Weights of buckets without a draw are interpolated.

    Raises:
        ValueError: there are no images, or nothing differs in any bucket.
    """
    n_buckets = features_NBK.shape[1]
    scale = np.sqrt((features_NBK**2).mean(axis=(0, 2))) if len(features_NBK) else np.zeros(1)
    seen = scale > 0
    if not seen.any():
        raise ValueError("no draw tells two classes apart")
    features = features_NBK[:, seen] / scale[seen, None]
    of_label = features[np.arange(len(labels_N)), :, labels_N]  # (N, B)

    def loss(w: Array) -> tuple[float, Array]:
        log_p = log_softmax(-np.einsum("nbk,b->nk", features, w), axis=1)
        surprise = -log_p[np.arange(len(labels_N)), labels_N].sum()
        slope = (of_label - np.einsum("nbk,nk->nb", features, np.exp(log_p))).sum(axis=0)
        return surprise + (w @ w) / (2 * PRIOR_SD**2), slope + w / PRIOR_SD**2

    n_seen = int(seen.sum())
    found = minimize(
        loss,
        np.full(n_seen, 1 / n_seen),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * n_seen,
        options={"maxiter": 10_000, "ftol": 1e-13, "gtol": 1e-8},
    )
    weights = np.zeros(n_buckets)
    weights[seen] = found.x / scale[seen]
    return _interpolated(weights, seen)


def _interpolated(values: Array, known: NDArray[np.bool_]) -> Array:
    """Interpolate unknown buckets between known ones; beyond the last, its value is constant."""
    buckets = np.arange(len(values))
    return np.interp(buckets, buckets[known], values[known])
