"""Fits what a weighting needs to the raw scores of a run: `standardised` and `learned`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.analysis.saved_scores import SavedScores, read_scores
from zsd_ray.diffusion.time_density import bucket_of
from zsd_ray.diffusion.weighting import fitted_weights
from zsd_ray.results.profile_file import write_profile
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.method import FittedOn, TimeProfile
from zsd_ray.spec.secrets import redact
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.time_fit import (
    Signal,
    Spread,
    bucket_means,
    deviations,
    informative,
    learned_weights,
)

Array = NDArray[np.float64]

N_BUCKETS = 20
"""Equal slices of t_range (Clark & Jaini 2023, their learned weighting)."""

SALT = "zsd-ray fit"
"""Of the hash that chooses the images of a labelled fit; another than that of `data.limit`."""

_DIGITS = 6  # of what is saved: errors differ in later ones between kinds of hardware


@dataclass(frozen=True)
class Accuracy:
    """Of some images, with its 95 % interval (Wilson)."""

    images: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class FittedWeighting:
    """What a fit came to.

    path: the file, without passwords. images, draws: what it was fitted on.
    share, salt: of a labelled fit, which images those were (`in_share`); None: all.
    before, after: accuracy with the run's own weights and with the fitted ones, each over the
        labelled images that the fit took no label of, and their draws that all classes had; None:
        there are none.
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


def in_share(image_id: str, share: float, salt: str = SALT) -> bool:
    """Whether an image is of the `share` whose labels a fit takes: a fixed choice by its id."""
    digest = hashlib.blake2b(f"{salt}\0{image_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def fit_from_run(
    path: str,
    kind: Literal["standardised", "learned"],
    output: str | None = None,
    fit_share: float = 0.5,
) -> FittedWeighting:
    """Fit a weighting to the raw scores of the run at `path`, and write it to a file.

    `standardised` takes no labels and all images; `learned` the labelled ones of a share.

    Args:
        output: the JSON file, a path or URL; None: KIND.json in the run's output.
        fit_share: of the images, for `learned`.

    Raises:
        UserError: there is no such run, or not what the fit needs.
    """
    if not 0 < fit_share < 1:
        raise UserError(f"--fit-share takes a number between 0 and 1, but came {fit_share:g}")
    run = open_run(path)
    images = _Images(run)
    profile = _standardised(images)
    fitted = set(images.ids)
    if kind == "learned":
        fitted = {i for i in images.ids if images.labels[i] is not None and in_share(i, fit_share)}
        profile = _learned(images, profile, fitted, fit_share)
    place = output or run.output.location(f"{kind}.json")
    write_profile(place, profile)
    before, after = _accuracies(images, profile, kind, fitted if kind == "learned" else set())
    on = profile.fitted_on
    return FittedWeighting(
        kind, redact(place), profile, on.images, on.draws, on.share, on.salt, before, after
    )


def standardised_profile(run: SavedRun) -> TimeProfile:
    """Return how the errors of a run spread over t.

    Raises:
        UserError: it kept no raw scores, or they tell no classes apart.
    """
    return _standardised(_Images(run))


@dataclass(frozen=True)
class _Image:
    """The draws of one image that all of its classes had, D of them.

    classes: (C,) int32; bucket: (D,); deviations: (D, C) float64, of the errors from their mean
    over classes; scores: (C,) float64, means with the run's own weights.
    """

    classes: NDArray[np.int32]
    bucket: NDArray[np.intp]
    deviations: Array
    scores: Array


class _Images:
    """The images of a run that kept their draws, in order of their ids.

    Attributes:
        labels: of each image id, the class number or None; evaluations: what each cost.
    """

    def __init__(self, run: SavedRun) -> None:
        self.run = run
        method = run.config.method
        if method.name != "diffusion-classifier":
            raise UserError(
                f"{run.name} is a run of method {method.name}, which has no timesteps to weight"
            )
        self._scores: SavedScores = read_scores(run)
        self.n_classes = self._scores.n_classes
        self.edges = np.linspace(*run.config.draw_method.times, N_BUCKETS + 1)
        rows = run.read("decisions")
        columns = (rows[name].to_pylist() for name in ("image_id", "label", "n_spent", "error"))
        self.labels: dict[str, int | None] = {}
        self.evaluations: dict[str, int] = {}
        for image_id, label, n_spent, error in zip(*columns, strict=True):
            if error is None:
                self.labels[image_id], self.evaluations[image_id] = label, n_spent
        numbers = {image_id: i for i, image_id in enumerate(self._scores.image_ids)}
        self._numbers = {i: numbers[i] for i in sorted(numbers) if i in self.labels}
        self.ids = list(self._numbers)

    def __getitem__(self, image_id: str) -> _Image:
        number = self._numbers[image_id]
        rows, errors = self._scores.rows(number), self._scores.errors_of(number)
        first = np.isfinite(errors[0])
        complete = np.isfinite(errors[:, first]).all(axis=1)
        errors = errors[np.ix_(complete, first)]
        weight = self._scores.weight[rows][complete]
        return _Image(
            classes=np.flatnonzero(first).astype(np.int32),
            bucket=bucket_of(self.edges, self._scores.t[rows][complete]),
            deviations=deviations(errors),
            scores=(weight[:, None] * errors).mean(axis=0),
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


def _accuracies(
    images: _Images, profile: TimeProfile, kind: Literal["standardised", "learned"], seen: set[str]
) -> tuple[Accuracy | None, Accuracy | None]:
    middles = (images.edges[:-1] + images.edges[1:]) / 2
    weights = fitted_weights(profile, kind, middles)
    n, before, after = 0, 0, 0
    for image_id in images.ids:
        label = images.labels[image_id]
        if label is None or image_id in seen:
            continue
        image = images[image_id]
        means = bucket_means(image.deviations, image.bucket, N_BUCKETS)
        n += 1
        before += int(image.classes[image.scores.argmin()]) == label
        after += int(image.classes[(weights @ means).argmin()]) == label
    return _accuracy(before, n), _accuracy(after, n)


def _accuracy(correct: int, n: int) -> Accuracy | None:
    return Accuracy(n, correct / n, *wilson(correct, n)) if n else None


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
