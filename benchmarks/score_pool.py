"""A run that gave every class every draw, as arrays to replay other settings from.

Shapes: N images, D draws, K classes, B buckets of t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsd_ray.analysis.fit_share import in_share
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.saved_scores import read_scores
from zsd_ray.analysis.weighting_fit import N_BUCKETS
from zsd_ray.config.classifier_method import DEFAULT_SNR_RANGE, DiffusionClassifierMethod
from zsd_ray.diffusion.draws import STRATA, spread_order
from zsd_ray.diffusion.saved_schedule import SavedSchedule
from zsd_ray.diffusion.time_density import MEASURED_SHARE, USUAL_SHARE, bucket_of, usual_spread
from zsd_ray.diffusion.weighting import WEIGHTINGS
from zsd_ray.records.draw_table import Draws
from zsd_ray.records.errors import UserError
from zsd_ray.stats.time_fit import (
    Spread,
    bucket_means,
    deviations,
    learned_weights,
)

Array = NDArray[np.float64]
TIMESTEPS = ("uniform", "stratified", "importance", "importance, fitted", "grid")


@dataclass(frozen=True)
class Replayable:
    """The images that are reported, in the order and with the weights of some settings.

    errors: N arrays (D', K) float32; draws: those of each of the N.
    """

    errors: list[NDArray[np.float32]]
    draws: list[Draws]


class Pool:
    """The pool of one run. Half of its images (by their ids) are fitted to, the others reported.

    The run's draws are stratified in blocks of ten. `uniform` takes them in random order;
    `importance` takes each with a probability in proportion to its density, in their own order, and
    corrects its weight: by the usual spread of errors, or by what was fitted. `grid` takes those
    nearest to an even grid, in van der Corput's order.
    """

    def __init__(self, path: str) -> None:
        run = open_run(path)
        method = run.config.method
        if (
            not isinstance(method, DiffusionClassifierMethod)
            or run.config.pruning.rule != "none"
            or method.timesteps != "stratified"
            or method.t_range is None
        ):
            raise UserError(
                f"{path} is no pool: it needs pruning.rule none, timesteps stratified and a t_range"
            )
        scores = read_scores(run)
        rows = run.read("decisions").select(["image_id", "label"]).to_pylist()
        labels = {row["image_id"]: row["label"] for row in rows}
        self.name = run.name.rsplit("/", 1)[-1].removeprefix("pool-")
        self.n_classes = scores.n_classes
        self.errors = np.stack([scores.errors_of(i) for i in range(len(scores.image_ids))])
        shape = self.errors.shape[:2]
        self.t, self.alpha, self.sigma = (
            array.reshape(shape) for array in (scores.t, scores.alpha, scores.sigma)
        )
        self.snr = (self.alpha / self.sigma) ** 2
        self.labels = np.array([labels[image_id] for image_id in scores.image_ids])
        self._schedule = SavedSchedule(scores.t, scores.alpha, scores.sigma)
        self.low, self.high = method.t_range
        self.edges = np.linspace(self.low, self.high, N_BUCKETS + 1)
        self.bucket = bucket_of(self.edges, self.t)
        self.fitted = np.array([in_share(image_id, 0.5) for image_id in scores.image_ids])
        self._fit()

    def _fit(self) -> None:
        spread, features = Spread(N_BUCKETS), []
        for i in np.flatnonzero(self.fitted):
            centred = deviations(self.errors[i])
            spread.add(centred, self.bucket[i])
            features.append(bucket_means(centred, self.bucket[i], N_BUCKETS))
        self.sd = spread.sd()
        self.learned = learned_weights(np.stack(features), self.labels[self.fitted])

    @property
    def reported(self) -> NDArray[np.intp]:
        return np.flatnonzero(~self.fitted)

    def weight(self, weighting: str) -> Array:
        """w(t) of every draw, (N, D)."""
        if weighting == "standardised":
            return (1 / self.sd)[self.bucket]
        if weighting == "learned":
            return self.learned[self.bucket]
        flat = WEIGHTINGS[weighting](self._schedule, self.t.ravel(), "l2")
        return flat.reshape(self.t.shape)

    def replayable(
        self, weighting: str, timesteps: str, images: NDArray[np.intp], ranged: bool, seed: int = 0
    ) -> Replayable:
        """These images under these settings; `ranged`: with draws in the default range only."""
        weight = self.weight(weighting)
        least, most = DEFAULT_SNR_RANGE if ranged else (0.0, np.inf)
        errors, draws = [], []
        for i in images.tolist():
            within = np.flatnonzero((self.snr[i] >= least) & (self.snr[i] <= most))
            chosen, correction = self._chosen(i, within, weight[i, within], timesteps, seed)
            table = [array[i, chosen] for array in (self.t, self.alpha, self.sigma, weight)]
            table[3] = table[3] * correction
            errors.append(self.errors[i, chosen])
            draws.append(Draws.of(*table))
        return Replayable(errors, draws)

    def _chosen(
        self, image: int, draws: NDArray[np.intp], weight: Array, timesteps: str, seed: int
    ) -> tuple[NDArray[np.intp], Array | float]:
        """Which of `draws`, in their order, and what their weights are multiplied with."""
        rng = np.random.default_rng([seed, image])
        if timesteps == "stratified":
            return self._in_blocks(image, draws), 1.0
        if timesteps == "uniform":
            return rng.permutation(draws), 1.0
        if timesteps == "grid":
            by_time = draws[np.argsort(self.t[image, draws], kind="stable")]
            return by_time[spread_order(len(draws))], 1.0
        fitted = timesteps == "importance, fitted"
        uniform = MEASURED_SHARE if fitted else USUAL_SHARE
        usual = usual_spread(self.snr[image, draws])
        wanted = weight * (self.sd[self.bucket[image, draws]] if fitted else usual)
        share = (1 - uniform) * wanted / wanted.mean() + uniform
        draws = self._in_blocks(image, draws)
        share = share[np.argsort(np.argsort(draws))]
        kept = rng.random(len(draws)) < share / share.max()
        return draws[kept], 1 / share[kept]

    def _in_blocks(self, image: int, draws: NDArray[np.intp]) -> NDArray[np.intp]:
        """Ten at a time in the order that runs take strata in, turned by a random step.

        The pool may be older than that order; the ten times of a block are the same in any.
        """
        rng = np.random.default_rng(image)
        out = []
        for block in np.split(draws, range(STRATA, len(draws), STRATA)):
            order = spread_order(len(block))
            turned = (order + rng.integers(len(block))) % len(block)
            out.append(block[np.argsort(self.t[image, block], kind="stable")][turned])
        return np.concatenate(out)
