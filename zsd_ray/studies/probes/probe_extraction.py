"""The features of a part of the images at one checkpoint: one forward per (image, t)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from zsd_ray.config.pooling import Cell
from zsd_ray.data.pictures.transforms import to_model_range, to_square
from zsd_ray.models.features.probe_features import FeatureExtractor
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import ImageError, UserError
from zsd_ray.results.output import Output
from zsd_ray.studies.probes.feature_parts import FeatureParts
from zsd_ray.studies.probes.probe_config import ProbeConfig
from zsd_ray.studies.probes.probe_plan import Checkpoint, ImageSet, Split


@dataclass(frozen=True)
class PartPiece:
    """One part of one split at one checkpoint."""

    checkpoint: Checkpoint
    split: Split
    part: int


class Extraction:
    """A `Work` that writes the features of a part; keeps the model of its last checkpoint."""

    def __init__(
        self, config: ProbeConfig, images: Mapping[Split, ImageSet], output: Output
    ) -> None:
        self._config = config
        self._images = images
        self._output = output
        self._n_rows = config.cluster.rows
        self._loaded: tuple[Checkpoint, FeatureExtractor] | None = None

    def __call__(self, piece: PartPiece) -> int:
        """Write one part, and return how many images it holds.

        Raises:
            UserError: the model does not fit, or its batches do not fit into memory.
        """
        extractor = self._extractor(piece.checkpoint)
        dataset = self._images[piece.split].dataset
        good: list[tuple[int, torch.Tensor]] = []
        errors: dict[str, str] = {}
        for number in self._images[piece.split].part(piece.part):
            try:
                square = to_square(dataset.read(number), extractor.image_size)
            except ImageError as error:
                errors[dataset.records[number].image_id] = str(error)
            else:
                good.append((number, torch.from_numpy(to_model_range(square[None])[0])))
        features: dict[Cell, list[torch.Tensor]] = {}
        for start in range(0, len(good), self._n_rows):
            batch = torch.stack([image for _, image in good[start : start + self._n_rows]])
            try:
                found = extractor(batch)
            except torch.OutOfMemoryError as error:
                raise UserError(
                    f"cluster.batch_size {self._n_rows}: the features of so many images do not fit "
                    "into the device's memory; set it lower"
                ) from error
            for cell, of_cell in found.items():
                features.setdefault(cell, []).append(of_cell)
        arrays = {cell: torch.cat(of).numpy() for cell, of in features.items()}
        finite = np.ones(len(good), dtype=bool)
        for array in arrays.values():
            finite &= np.isfinite(array).all(axis=1)
        for (number, _), kept in zip(good, finite, strict=True):
            if not kept:
                errors[dataset.records[number].image_id] = (
                    "the model's features are not finite; try model.dtype: float32"
                )
        numbers = [number for (number, _), kept in zip(good, finite, strict=True) if kept]
        FeatureParts(self._output, piece.checkpoint.fingerprint).write(
            piece.split,
            piece.part,
            numbers,
            [dataset.records[number].label or 0 for number in numbers],
            {cell: of[finite] for cell, of in arrays.items()},
            errors,
        )
        return len(numbers)

    def _extractor(self, checkpoint: Checkpoint) -> FeatureExtractor:
        if self._loaded is None or self._loaded[0] != checkpoint:
            self._loaded = None  # before the next is loaded beside it
            config = self._config
            blocks = None if config.blocks == "all" else config.blocks
            extractor = FeatureExtractor.load(
                resolve_model(checkpoint.model, self._output.store),
                config.prompt,
                config.timesteps,
                blocks,
                config.pooling,
                config.seed,
                self._n_rows,
            )
            self._loaded = checkpoint, extractor
        return self._loaded[1]
