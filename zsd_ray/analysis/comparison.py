"""What comparing runs finds, and what replaying one finds, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figures:
    """The headline figures of some decided images; None without any image to stand on.

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
        """From what `run_metrics` says of rows."""
        kept = {name: metrics[name] for name in cls.__dataclass_fields__ if name != "images"}
        return cls(images=metrics["images"] - metrics["errors"], **kept)


@dataclass(frozen=True)
class OffsetEffect:
    """What a class offset changed; the same images, rule and weighting are decided without it.

    images: that it was measured on, of these same ones: the figures with it are transductive.
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

    n_images: that the run has rows of; n_errors of them it could not classify.
    n_left_out: others, whose labels the new weighting was fitted to; they are in no figure.
    n_beyond: images whose replay wants scores that were not saved; they are in no figure but the
        bounds. n_saved_draws: the most draws that an image has.
    before: all that the run decided; same: that are decided again, by the run; after: again.
    n_agree: of those decided again, with the run's own prediction.
    accuracy_least, accuracy_most: if all images beyond the scores were wrong, or right.
    seconds: that the replay took.
    offset: what a class offset changed; None: there is none.
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

    name: where it lies; label: the end of it that tells it from the others.
    n_images: that it should decide; figures are of those that it has.
    seconds: of its sessions together; None where it is a replay.
    pilot_evaluations: of an earlier version's pilot, which fitted weights or times; in no figure.
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

    labelled: those of the images that have a label; only_first, only_second: that one alone got
        right.
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
    """Runs of the same images and classes, and every two of them."""

    runs: tuple[ComparedRun, ...]
    pairs: tuple[ComparedPair, ...]
