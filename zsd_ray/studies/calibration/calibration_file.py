"""OUTPUT/calibration.json: the calibration of a run's probabilities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from zsd_ray.stats.reliability import Bin, Measured


@dataclass(frozen=True)
class MethodCalibration:
    """One calibration method: its fitted parameters, and its results on the test images.

    Of the confidence, the probability of the prediction:
        confidence: its mean, which should be the accuracy.
        ece, ece_equal_mass: expected calibration error over bins of equal width, or with as many
            images each; ece_by_chance: the mean of `ece` that perfect calibration would show.
        brier_right, nll_right: of the event that the prediction is right.
        bins: of equal width, those with images.
    brier, nll: of the probabilities of all classes; None where the method has none.
    """

    parameters: dict[str, float]
    confidence: float
    ece: Measured
    ece_equal_mass: Measured
    ece_by_chance: float
    brier_right: Measured
    nll_right: Measured
    brier: Measured | None
    nll: Measured | None
    bins: list[Bin]


@dataclass(frozen=True)
class Calibration:
    """The results of a calibration.

    run: the output, without passwords. split: the share of images whose labels it was fitted on.
    n_fit, n_test: labelled images of both parts.
    accuracy: of the tested ones, with its Wilson 95 % interval.
    """

    run: str
    split: float
    n_fit: int
    n_test: int
    accuracy: Measured
    methods: Mapping[str, MethodCalibration]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
