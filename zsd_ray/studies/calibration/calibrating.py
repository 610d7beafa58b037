"""Converting the decisions of a run to calibrated probabilities."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from zsd_ray.analysis.fit_share import in_share
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.data.dataset import spread
from zsd_ray.records.errors import UserError
from zsd_ray.reports.columns import integers
from zsd_ray.results.places import refuse_relative_place
from zsd_ray.stats import reliability
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.reliability import Measured
from zsd_ray.storage.store import Store
from zsd_ray.studies.calibration.calibration_file import Calibration, MethodCalibration
from zsd_ray.studies.calibration.calibration_page import render_calibration
from zsd_ray.studies.calibration.evidence import Evidence
from zsd_ray.studies.calibration.gap_posterior import GapPosterior
from zsd_ray.studies.calibration.platt import Platt
from zsd_ray.studies.calibration.temperature import Temperature

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Numbers = NDArray[np.intp]

MIN_IMAGES = 20
_MIN_PART = 5
_MAX_FIT = 2_000  # images: a few parameters need no more, and a thousand classes make them large
_BLOCK = 1 << 20  # classes x images that are looked at together
_UNLABELLED = -1
_COLUMNS = [
    "image_id",
    "label",
    "prediction",
    "mean_scores",
    "gaps",
    "gap_errors",
    "draws_per_class",
    "n_evaluations",
]


def calibrate(path: str, split: float = 0.5, store: Store | None = None) -> Calibration:
    """Fit every method on one part of a run's labelled images, and test it on the others.

    Writes calibration.json, calibration.html and probabilities.parquet into the run's output. The
    part is chosen by image id, like that of a learned weighting: with the same share, no image is
    tested whose label the weighting was fitted to.

    Args:
        path: a run's output, a folder or URL.
        split: the share of images to fit on.
        store: how it is reached; None: by a plain `Store()`.

    Raises:
        UserError: there is no such run, or too little in it.
    """
    if not 0 < split < 1:
        raise UserError(f"--split takes a number between 0 and 1, but came {split:g}")
    refuse_relative_place("RUN", path)
    run = open_run(path, store)
    images = Images.of(run)
    fit, test = images.parts(split)
    evidence, labels = images.evidence.select(fit), images.labels[fit]
    posterior = GapPosterior.fit(evidence, labels)
    temperature = Temperature.fit(evidence, labels)
    platt = Platt.fit(evidence.n_evaluations, evidence.predictions == labels)
    applied = {
        "posterior": _apply(posterior, images),
        "temperature": _apply(temperature, images),
        "platt": _Applied(platt.log_odds(images.evidence.n_evaluations), {}),
    }
    parameters = {
        "posterior": posterior.parameters,
        "temperature": temperature.parameters,
        "platt": platt.parameters,
    }
    correct = images.correct[test]
    found = Calibration(
        run=run.name,
        split=split,
        n_fit=len(fit),
        n_test=len(test),
        accuracy=Measured(float(correct.mean()), *wilson(int(correct.sum()), len(test))),
        methods={
            name: _tested(parameters[name], applied[name].select(test), correct) for name in applied
        },
    )
    part = np.full(len(images.ids), None, dtype=object)
    part[fit], part[test] = "fit", "test"
    confidence = {name: expit(each.log_odds) for name, each in applied.items()}
    probabilities = _probability_file(posterior, images, part, confidence)
    run.output.write_bytes("probabilities.parquet", probabilities)
    run.output.write_bytes("calibration.html", render_calibration(found).encode())
    run.output.write_bytes("calibration.json", found.to_json().encode())
    return found


@dataclass(frozen=True, eq=False)
class Images:
    """The images with a prediction, by id: N of them. labels: _UNLABELLED where there is none."""

    ids: list[str]
    labels: Labels
    evidence: Evidence

    @classmethod
    def of(cls, run: SavedRun) -> Images:
        rows = run.read("decisions").select(_COLUMNS)
        n_classes = len(run.record.classes)
        if n_classes < 2:
            raise UserError(f"{run.name} has {n_classes} class; probabilities need at least 2")
        rows = rows.filter(pc.is_valid(rows["prediction"])).sort_by("image_id")
        if rows["gaps"].null_count:
            raise UserError(
                f"{run.name} was written by an earlier version, which kept no gaps between "
                "classes; run it again with --fresh"
            )
        labelled = len(rows) - rows["label"].null_count
        if labelled < MIN_IMAGES:
            raise UserError(
                f"{run.name} has {labelled} labelled images with a prediction, but calibration "
                f"needs at least {MIN_IMAGES}; run more images"
            )

        def per_class(name: str) -> Array:
            cells: Array = pc.list_flatten(rows[name]).to_numpy().astype(np.float64)
            return cells.reshape(-1, n_classes)

        evidence = Evidence(
            mean_scores=per_class("mean_scores"),
            gaps=per_class("gaps"),
            gap_errors=per_class("gap_errors"),
            draws=per_class("draws_per_class").astype(np.int64),
            predictions=integers(rows, "prediction"),
            n_evaluations=integers(rows, "n_evaluations"),
        )
        labels = pc.fill_null(rows["label"], _UNLABELLED).to_numpy().astype(np.int64)
        return cls(rows["image_id"].to_pylist(), labels, evidence)

    @property
    def correct(self) -> NDArray[np.bool_]:
        correct: NDArray[np.bool_] = self.evidence.predictions == self.labels
        return correct

    def parts(self, split: float) -> tuple[Numbers, Numbers]:
        """Return the numbers of the labelled images to fit on, and of those to test on."""
        labelled = np.flatnonzero(self.labels != _UNLABELLED)
        inside = np.array([in_share(self.ids[i], split) for i in labelled])
        fit, test = labelled[inside], labelled[~inside]
        if min(len(fit), len(test)) < _MIN_PART:
            raise UserError(
                f"--split {split:g} leaves {len(fit)} labelled images to fit on and {len(test)} to "
                f"test on, but both need at least {_MIN_PART}; choose another, or run more images"
            )
        if len(fit) > _MAX_FIT:
            fit = np.sort(np.array(sorted(fit, key=lambda i: spread(self.ids[i]))[:_MAX_FIT]))
        return fit, test

    def blocks(self) -> Iterator[slice]:
        """Yield all images in blocks."""
        step = max(1, _BLOCK // self.evidence.n_classes)
        yield from (slice(i, i + step) for i in range(0, len(self.ids), step))


@dataclass(frozen=True, eq=False)
class _Applied:
    """A fitted method on images: the log odds of their predictions, (N,), and proper scores of the
    probabilities of all classes by name, (N,) each.
    """

    log_odds: Array
    scores: Mapping[str, Array]

    def select(self, images: Numbers) -> _Applied:
        return _Applied(
            self.log_odds[images], {name: each[images] for name, each in self.scores.items()}
        )


def _apply(model: GapPosterior | Temperature, images: Images) -> _Applied:
    parts = []
    for block in images.blocks():
        evidence = images.evidence.select(block)
        logs = model.log_probabilities(evidence)
        labels = images.labels[block]  # what comes of _UNLABELLED is not looked at
        scores = reliability.brier(logs, labels), reliability.log_loss(logs, labels)
        parts.append((reliability.log_odds(logs, evidence.predictions), *scores))
    odds, brier, nll = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Applied(odds, {"brier": brier, "nll": nll})


def _tested(
    parameters: dict[str, float], applied: _Applied, correct: NDArray[np.bool_]
) -> MethodCalibration:
    """Return the calibration of a method on the images that it was not fitted on."""
    confidence = expit(applied.log_odds)
    width, mass = reliability.equal_width(confidence), reliability.equal_mass(confidence)
    means = {
        **applied.scores,
        "brier_right": (confidence - correct) ** 2,
        "nll_right": -log_expit(np.where(correct, applied.log_odds, -applied.log_odds)),
    }
    statistics = {
        "ece": partial(reliability.calibration_error, confidence, correct, width),
        "ece_equal_mass": partial(reliability.calibration_error, confidence, correct, mass),
        **{name: partial(_mean, values) for name, values in means.items()},
    }
    measured = reliability.intervals(statistics, len(correct))
    return MethodCalibration(
        parameters=parameters,
        confidence=float(confidence.mean()),
        ece=measured["ece"],
        ece_equal_mass=measured["ece_equal_mass"],
        ece_by_chance=reliability.error_by_chance(confidence, width),
        brier_right=measured["brier_right"],
        nll_right=measured["nll_right"],
        brier=measured.get("brier"),
        nll=measured.get("nll"),
        bins=reliability.bins(confidence, correct, width),
    )


def _mean(values: Array, weights: Array) -> float:
    return float(values @ weights / weights.sum())


def _probability_file(
    posterior: GapPosterior,
    images: Images,
    part: NDArray[np.object_],
    confidence: dict[str, Array],
) -> bytes:
    """Write every image with a prediction: its part, the methods' confidences, the posterior."""
    buffer = io.BytesIO()
    writer = None
    for block in images.blocks():
        p = np.exp(posterior.log_probabilities(images.evidence.select(block))).astype(np.float32)
        n, n_classes = p.shape
        table = pa.table(
            {
                "image_id": pa.array(images.ids[block], pa.string()),
                "part": pa.array(part[block], pa.string()),
                "prediction": pa.array(images.evidence.predictions[block], pa.int32()),
                **{f"confidence_{name}": values[block] for name, values in confidence.items()},
                "probabilities": pa.ListArray.from_arrays(
                    pa.array(np.arange(n + 1) * n_classes, pa.int32()), pa.array(p.ravel())
                ),
            }
        )
        writer = writer or pq.ParquetWriter(buffer, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return buffer.getvalue()
