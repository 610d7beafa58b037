"""The results of comparing runs, and of replaying one, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figures:
    """The headline figures of some decided images; None if there are no images for one.

    images: that have a prediction; labelled: those of them that have a label as well.
    accuracy_low, accuracy_high: its Wilson 95% interval.
    """

    images: int
    labelled: int
    correct: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    evaluations_per_image: float | None

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Figures:
        """Make the figures from the result of `run_metrics`."""
        kept = {name: metrics[name] for name in cls.__dataclass_fields__ if name != "images"}
        return cls(images=metrics["images"] - metrics["errors"], **kept)


@dataclass(frozen=True)
class OffsetEffect:
    """The effect of a class offset, compared with the same images, rule and weighting without it.

    images: those of these that it was measured on: the figures with it are transductive.
    shrinkage: the share of the measured offset that was taken out.
    difference: accuracy with it less that without; low, high: its 95% interval by the paired
        bootstrap; p_value: McNemar's exact test. None without labels.
    """

    images: int
    shrinkage: float
    without: Figures
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None


@dataclass(frozen=True)
class Rescored:
    """A run's saved scores under other settings.

    n_images: with rows in the run; n_errors of them it could not classify.
    n_left_out: others, whose labels the new weighting was fitted to; they are not in the figures.
    n_beyond: images whose replay needs scores that were not saved; they are only in the bounds.
        n_saved_draws: the most draws that an image has.
    before: all images that the run decided; same: the run, on images that are decided again; after:
        the replay on those.
    n_agree: those decided again with the run's own prediction.
    accuracy_least, accuracy_most: if all images beyond the scores were wrong, or right.
    seconds: duration of the replay.
    offset: the effect of a class offset; None: there is none.
    """

    run: str
    weighting: tuple[str, str]
    pruning: tuple[Mapping[str, Any], Mapping[str, Any]]
    n_images: int
    n_errors: int
    n_left_out: int
    n_beyond: int
    n_saved_draws: int
    before: Figures
    same: Figures
    after: Figures
    n_agree: int
    accuracy_least: float | None
    accuracy_most: float | None
    seconds: float
    output: str | None
    offset: OffsetEffect | None = None


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs that are compared.

    name: its location; label: the end of that, which is distinct from the others.
    n_images: those that it should decide; figures are of the decided ones.
    seconds: of its sessions together; None if it is a replay.
    pilot_evaluations: of an earlier version's pilot, which fitted weights or times; not in the
        figures.
    """

    name: str
    label: str
    status: str
    model: str
    weighting: str | None
    pruning: Mapping[str, Any]
    n_images: int
    figures: Figures
    seconds: float | None
    pilot_evaluations: int


@dataclass(frozen=True)
class ComparedPair:
    """Two of them, on the images that both decided; places count from 0.

    labelled: images with a label; only_first, only_second: those that only one of them got right.
    difference: accuracy of the second less that of the first; low, high: its 95% interval by the
        paired bootstrap; p_value: McNemar's exact test. None without labels.
    agreement: the share of images with the same prediction.
    evaluations_ratio: the second's evaluations over the first's.
    """

    first: int
    second: int
    images: int
    labelled: int
    only_first: int
    only_second: int
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    agreement: float
    evaluations_ratio: float | None


@dataclass(frozen=True)
class Comparison:
    """Runs of the same images and classes, and every pair of them."""

    runs: tuple[ComparedRun, ...]
    pairs: tuple[ComparedPair, ...]
