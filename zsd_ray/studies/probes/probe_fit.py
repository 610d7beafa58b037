"""Fits the probes of a block at one noise level, and measures their accuracy.

Shapes: N images, D features, K labels of the data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.pooling import Cell, pooling_name
from zsd_ray.models.files.probe_files import INDEX, WEIGHTS, ProbeFile, weights_file
from zsd_ray.models.registry import device_of
from zsd_ray.records.errors import DamagedFile, UserError
from zsd_ray.records.redaction import redacted
from zsd_ray.results.output import Output
from zsd_ray.settings.documents import parse_json
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.label_ranks import rank_of_label
from zsd_ray.studies.probes import linear_probe
from zsd_ray.studies.probes.feature_parts import FeatureParts
from zsd_ray.studies.probes.linear_probe import LinearProbe
from zsd_ray.studies.probes.nearest import votes
from zsd_ray.studies.probes.probe_config import KnnConfig, LinearConfig, ProbeConfig
from zsd_ray.studies.probes.probe_plan import SPLITS, Checkpoint, Split
from zsd_ray.studies.probes.probe_rows import Row, checked_rows

_FIT_AGAIN = "rename or remove it, and the probes are fitted again"


@dataclass(frozen=True)
class FitPiece:
    """All cells of one block at one t and checkpoint. cells: one for each pooling."""

    checkpoint: Checkpoint
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Return the name of the file of its rows."""
        return f"fits/{self.checkpoint.fingerprint}/{self.cells[0].t!r}-{self.cells[0].block}.json"


@dataclass(frozen=True)
class Features:
    """One cell's: of the images to fit to, to choose by, and to test on, each (N, D) and (N,)."""

    fitted: tuple[NDArray[np.float32], NDArray[np.int64]]
    held_out: tuple[NDArray[np.float32], NDArray[np.int64]]
    test: tuple[NDArray[np.float32], NDArray[np.int64]]

    @property
    def train(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the images to fit to with those to choose by, after the choice."""
        (x, labels), (more, their_labels) = self.fitted, self.held_out
        return np.concatenate([x, more]), np.concatenate([labels, their_labels])


@dataclass(frozen=True)
class Fit:
    """A `Work` that fits the probes of a block and writes their rows."""

    config: ProbeConfig
    n_parts: dict[Split, int]
    held_out: frozenset[int]
    label_names: list[str]
    output: Output

    def __call__(self, piece: FitPiece) -> list[Row]:
        """The rows of one piece, which are written, too.

        Raises:
            UserError: too few images could be read.
        """
        rows = [row for cell in piece.cells for row in self._rows(piece.checkpoint, cell)]
        self.output.write_bytes(piece.name, json.dumps(rows).encode())
        return rows

    def _rows(self, checkpoint: Checkpoint, cell: Cell) -> list[Row]:
        features = self._features(checkpoint, cell)
        rows: list[Row] = []
        probes = self.config.probes
        if probes.linear is not None:
            row, probe = self._linear(features, probes.linear)
            rows.append(row)
            weights = weights_file(probe.classes, probe.weight_KD, probe.bias_K)
            self.output.write_bytes(_weights_name(checkpoint, cell), weights)
        if probes.knn is not None:
            rows += self._knn(features, probes.knn)
        place = {"checkpoint": checkpoint.name, "epoch": checkpoint.epoch, **cell._asdict()}
        return [place | row for row in rows]

    def _linear(self, features: Features, config: LinearConfig) -> tuple[Row, LinearProbe]:
        chosen, validation = self._strength(features, config)
        x, labels = features.train
        (probe,) = linear_probe.fit(x, labels, [chosen], self._device)
        ranks = self._ranks(probe, *features.test)
        about = {"probe": "linear", "setting": f"l2={chosen:.12g}", "converged": probe.converged}
        return about | self._result(features, validation, ranks), probe

    def _strength(self, features: Features, config: LinearConfig) -> tuple[float, float]:
        """Return the best strength on the held-out images, and its accuracy; of equals the
        strongest."""
        strengths = sorted(config.l2, reverse=True)
        probes = linear_probe.fit(*features.fitted, strengths, self._device)
        right = [float((self._ranks(each, *features.held_out) == 0).mean()) for each in probes]
        best = int(np.argmax(right))
        return strengths[best], right[best]

    def _ranks(
        self, probe: LinearProbe, x: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        scores = np.full((len(x), len(self.label_names)), -np.inf)
        scores[:, probe.classes] = probe.log_probabilities(x)
        return rank_of_label(scores, labels)

    def _knn(self, features: Features, config: KnnConfig) -> list[Row]:
        n_labels, found = len(self.label_names), []
        sides = []
        for train, others in (
            (features.fitted, features.held_out),
            (features.train, features.test),
        ):
            counts = votes(*train, others[0], config.k, config.metric, n_labels, self._device)
            # A class without a vote is not named at all.
            sides.append([rank_of_label(np.where(c, c, -np.inf), others[1]) for c in counts])
        for k, on_held_out, on_test in zip(config.k, *sides, strict=True):
            about = {"probe": "knn", "setting": f"k={k} {config.metric}", "converged": True}
            validation = float((on_held_out == 0).mean())
            found.append(about | self._result(features, validation, on_test))
        return found

    def _result(self, features: Features, validation: float, ranks: NDArray[np.int64]) -> Row:
        n, right = len(ranks), int((ranks == 0).sum())
        low, high = wilson(right, n)
        return {
            "n_features": features.test[0].shape[1],
            "n_train": len(features.fitted[1]) + len(features.held_out[1]),
            "n_test": n,
            "validation": validation,
            "top1": right / n,
            "low": low,
            "high": high,
            "top_k": float((ranks < min(self.config.top_k, len(self.label_names))).mean()),
        }

    def _features(self, checkpoint: Checkpoint, cell: Cell) -> Features:
        store = FeatureParts(self.output, checkpoint.fingerprint)
        (numbers, labels, x), (_, test_labels, test_x) = (
            store.read(split, range(self.n_parts[split]), cell) for split in SPLITS
        )
        held_out = np.isin(numbers, np.fromiter(self.held_out, np.int64))
        fitted, others = labels[~held_out], labels[held_out]
        least = max(self.config.probes.knn.k) if self.config.probes.knn else 2
        if len(np.unique(fitted)) < 2 or len(fitted) < least or not len(others):
            raise UserError(
                f"data.train: too few of its images could be read ({len(labels)}) to fit to and to "
                "choose by"
            )
        return Features((x[~held_out], fitted), (x[held_out], others), (test_x, test_labels))

    @property
    def _device(self) -> torch.device:
        device = device_of(self.config.model)
        return torch.device("cpu") if device.type == "mps" else device  # which has no float64


def save(
    config: ProbeConfig,
    label_names: Sequence[str],
    output: Output,
    checkpoint: Checkpoint,
    row: Row,
) -> None:
    """Write the linear probe of a row as a model of its own, OUTPUT/probe.

    Raises:
        UserError: its weights are gone.
    """
    from safetensors.numpy import load

    cell = Cell(row["t"], row["block"], row["pooling"])
    name = _weights_name(checkpoint, cell)
    weights = output.read_bytes(name)
    if weights is None:
        raise UserError(f"{output.location(name)} is gone; remove the folder fits, and fit again")
    try:
        labels = [label_names[label] for label in load(weights)["classes"]]
    except Exception as error:  # the library's own; the content is in memory
        raise DamagedFile.of(error, output.shown(name), _FIT_AGAIN) from error
    pooling = next(p for p in config.pooling if pooling_name(p) == cell.pooling)
    file = ProbeFile(
        model=_keys(checkpoint),
        t=cell.t,
        block=cell.block,
        pooling=pooling if isinstance(pooling, str) else pooling.model_dump(),
        prompt=config.prompt,
        seed=config.seed,
        labels=labels,
        fitted=row,
    )
    output.write_bytes(f"probe/{WEIGHTS}", weights)
    output.write_bytes(f"probe/{INDEX}", file.to_json().encode())


def _weights_name(checkpoint: Checkpoint, cell: Cell) -> str:
    return f"fits/{checkpoint.fingerprint}/{cell.key.replace('/', '-')}.safetensors"


def _keys(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the keys of the model section that are set, except the device."""
    model = checkpoint.model
    said = model.model_dump(mode="json", exclude_defaults=True, exclude={"device"})
    return redacted({"family": model.family, "path": model.path} | said)


def _rows_of(content: bytes, shown: str) -> list[Row]:
    try:
        return checked_rows(parse_json(content, shown))
    except ValueError as error:
        raise DamagedFile.of(error, shown, _FIT_AGAIN) from error


def rows_written(output: Output, pieces: Sequence[FitPiece]) -> dict[str, list[Row]]:
    """The rows of the pieces that are done, by their names."""
    found = {}
    for piece in pieces:
        content = output.read_bytes(piece.name)
        if content is not None:
            found[piece.name] = _rows_of(content, output.shown(piece.name))
    return found
