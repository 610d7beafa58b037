"""Fits the weightings `standardised` and `learned` to the raw scores of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zsd_ray.analysis.comparison import Figures
from zsd_ray.analysis.fit_share import SALT, in_share
from zsd_ray.analysis.rescore import rescored
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.analysis.saved_scores import SavedScores, read_scores
from zsd_ray.analysis.settings import with_profile
from zsd_ray.config.time_profile import FittedOn, TimeProfile
from zsd_ray.diffusion.time_density import bucket_of
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.places import refuse_relative_place
from zsd_ray.results.profile_file import write_profile
from zsd_ray.stats.time_fit import (
    Signal,
    Spread,
    bucket_means,
    deviations,
    informative,
    learned_weights,
)
from zsd_ray.storage.store import Store

Array = NDArray[np.float64]

N_BUCKETS = 20
"""Equal slices of the times that were drawn (Clark & Jaini 2023, their learned weighting)."""

_DIGITS = 6  # of what is saved: errors differ in later ones between kinds of hardware


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on some images, with its 95 % interval (Wilson)."""

    images: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class FittedWeighting:
    """The result of a fit.

    path: the file, without passwords. images, draws: the numbers that it was fitted on.
    share, salt: the choice of images of a labelled fit (`in_share`); None: all.
    before, after: accuracy of the run's own decisions and of those with the fitted weights, as by
        `zsd-ray rescore`, each over the labelled images whose labels the fit did not use; None:
        there are none.
    n_beyond: images in neither, because the run's rule then needs draws that were not saved.
    """

    kind: str
    path: str
    profile: TimeProfile
    images: int
    draws: int
    share: float | None
    salt: str | None
    before: Accuracy | None
    after: Accuracy | None
    n_beyond: int


def fit_from_run(
    path: str,
    kind: Literal["standardised", "learned"],
    output: str | None = None,
    fit_share: float = 0.5,
    store: Store | None = None,
) -> FittedWeighting:
    """Fit a weighting to the raw scores of the run at `path`, and write it to a file.

    `standardised` uses all images and no labels; `learned` the labelled ones of a share.

    Args:
        output: the JSON file, a path or URL; None: KIND.json in the run's output.
        fit_share: of the images, for `learned`.
        store: how both are reached; None: by a plain `Store()`.

    Raises:
        UserError: there is no such run, or it lacks data for the fit.
    """
    if not 0 < fit_share < 1:
        raise UserError(f"--fit-share takes a number between 0 and 1, but came {fit_share:g}")
    refuse_relative_place("RUN" if output is None else "--output", output or path)
    run = open_run(path, store)
    images = _Images(run)
    profile = _standardised(images)
    if kind == "learned":
        fitted = {i for i in images.ids if images.labels[i] is not None and in_share(i, fit_share)}
        profile = _learned(images, profile, fitted, fit_share)
    place = output or run.output.location(f"{kind}.json")
    write_profile(place, profile, run.output.store)
    found = rescored(run, images.scores, with_profile(run.config, kind, profile))
    on = profile.fitted_on
    return FittedWeighting(
        kind,
        redact(place),
        profile,
        on.images,
        on.draws,
        on.share,
        on.salt,
        before=_accuracy(found.same),
        after=_accuracy(found.after),
        n_beyond=found.n_beyond,
    )


@dataclass(frozen=True)
class _Image:
    """The D draws of one image that all of its classes had.

    classes: (C,) int32; bucket: (D,); deviations: (D, C) float64, of the errors from their mean
    over classes.
    """

    classes: NDArray[np.int32]
    bucket: NDArray[np.intp]
    deviations: Array


class _Images:
    """The images of a run that have saved draws, in order of their ids.

    Attributes:
        scores: as they were saved, of all images.
        labels: the class number or None, by image id; evaluations: the cost of each.
    """

    def __init__(self, run: SavedRun) -> None:
        self.run = run
        method = run.config.method
        if method.name != "diffusion-classifier":
            raise UserError(
                f"{run.name} is a run of method {method.name}, which has no timesteps to weight"
            )
        self.scores: SavedScores = read_scores(run)
        self.n_classes = self.scores.n_classes
        drawn = float(self.scores.t.min()), float(self.scores.t.max())
        low, high = run.config.draw_method.t_range or drawn
        if low >= high:
            raise UserError(
                f"{run.name} has all its draws at t = {low:g}, and a profile is of several times"
            )
        self.edges = np.linspace(low, high, N_BUCKETS + 1)
        rows = run.read("decisions")
        columns = (rows[name].to_pylist() for name in ("image_id", "label", "n_spent", "error"))
        self.labels: dict[str, int | None] = {}
        self.evaluations: dict[str, int] = {}
        for image_id, label, n_spent, error in zip(*columns, strict=True):
            if error is None:
                self.labels[image_id], self.evaluations[image_id] = label, n_spent
        numbers = {image_id: i for i, image_id in enumerate(self.scores.image_ids)}
        self._numbers = {i: numbers[i] for i in sorted(numbers) if i in self.labels}
        self.ids = list(self._numbers)

    def __getitem__(self, image_id: str) -> _Image:
        number = self._numbers[image_id]
        rows, errors = self.scores.rows(number), self.scores.errors_of(number)
        first = np.isfinite(errors[0])
        complete = np.isfinite(errors[:, first]).all(axis=1)
        errors = errors[np.ix_(complete, first)]
        return _Image(
            classes=np.flatnonzero(first).astype(np.int32),
            bucket=bucket_of(self.edges, self.scores.t[rows][complete]),
            deviations=deviations(errors),
        )

    def __iter__(self) -> Iterator[_Image]:
        return (self[image_id] for image_id in self.ids)

    def fitted_on(self, ids: set[str], n_draws: int, share: float | None = None) -> FittedOn:
        return FittedOn(
            run=self.run.name,
            identity=self.run.record.identity,
            images=len(ids),
            draws=n_draws,
            evaluations=sum(self.evaluations[image_id] for image_id in ids),
            share=share,
            salt=None if share is None else SALT,
        )


def _standardised(images: _Images) -> TimeProfile:
    spread, n_draws = Spread(N_BUCKETS), 0
    for image in images:
        spread.add(image.deviations, image.bucket)
        n_draws += len(image.bucket)
    try:
        sd = spread.sd()
    except ValueError as error:
        raise UserError(
            f"{images.run.name}: {error}; a profile needs two classes or more"
        ) from error
    signal = Signal(N_BUCKETS)
    for image in images:
        scores = (image.deviations / sd[image.bucket, None]).sum(axis=0)
        signal.add(image.deviations, image.bucket, int(scores.argmin()))
    strong = informative(signal.values())
    return TimeProfile(
        loss=images.run.config.draw_method.loss,
        edges=tuple(images.edges.tolist()),
        sd=_rounded(sd),
        signal=_rounded(signal.values()),
        informative=(float(images.edges[strong.start]), float(images.edges[strong.stop])),
        fitted_on=images.fitted_on(set(images.ids), n_draws),
    )


def _learned(images: _Images, profile: TimeProfile, fitted: set[str], share: float) -> TimeProfile:
    features, labels, n_draws = [], [], 0
    used = set()
    for image_id in sorted(fitted):
        image, label = images[image_id], images.labels[image_id]
        if len(image.classes) < images.n_classes:
            continue  # a screen removed some, perhaps the true one
        features.append(bucket_means(image.deviations, image.bucket, N_BUCKETS))
        labels.append(label)
        n_draws += len(image.bucket)
        used.add(image_id)
    if not used:
        raise UserError(
            f"{images.run.name}: no labelled image of the {share:g} to fit on has draws for all "
            f"{images.n_classes} classes; learned weights need labels"
        )
    weights = learned_weights(np.stack(features), np.asarray(labels, dtype=np.int64))
    if not weights.any():
        raise UserError(
            f"{images.run.name}: the errors of {len(used)} images say nothing about their labels; "
            "fit on more images, or on another model's run"
        )
    on = images.fitted_on(used, n_draws, share)
    return profile.model_copy(update={"weights": _rounded(weights), "fitted_on": on})


def _accuracy(of: Figures) -> Accuracy | None:
    if of.accuracy is None or of.accuracy_low is None or of.accuracy_high is None:
        return None
    return Accuracy(of.labelled, of.accuracy, of.accuracy_low, of.accuracy_high)


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
