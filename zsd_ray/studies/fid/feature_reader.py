"""Features of the pictures of two sets, in pieces, for FID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.pictures.transforms import to_rgb, to_square
from zsd_ray.methods.class_rows import batches
from zsd_ray.records.errors import ImageError, UserError
from zsd_ray.records.redaction import redact
from zsd_ray.storage.store import Store
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.fid.image_features import load_features

PIECE = 256
"""Images that a worker sees at once."""


class Piece(NamedTuple):
    """Some images of one of the two sets, by their numbers there."""

    real: bool
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Sets:
    """The two data sets, the extractor, and how all of it is reached; picklable."""

    config: FidConfig
    real: ImageDataset
    generated: ImageDataset
    store: Store


class FeatureReader:
    """An extractor, and its input pictures."""

    def __init__(self, sets: Sets) -> None:
        config = sets.config
        self._sets = sets
        assert isinstance(config.cluster.batch_size, int)
        self._rows = min(config.cluster.batch_size, PIECE)
        self._extract = load_features(config.extractor, config.seed, self._rows, sets.store)

    def __call__(self, piece: Piece) -> NDArray[np.float32]:
        """Return a vector per image, (n, D).

        Raises:
            UserError: an image cannot be read, or not all are of one size.
        """
        dataset = self._sets.real if piece.real else self._sets.generated
        pictures = self._pictures(dataset, piece)
        try:
            parts = [self._extract(pictures[mine]) for mine in batches(len(pictures), self._rows)]
        except ImageError as error:  # all are of one size
            raise UserError(f"{_which(piece)}: {error}, or set image_size") from error
        vectors = np.concatenate(parts)[: len(pictures)]
        if not np.isfinite(vectors).all():
            raise UserError("the extractor gives features that are not finite; set dtype: float32")
        return vectors

    def _pictures(self, dataset: ImageDataset, piece: Piece) -> NDArray[np.uint8]:
        which, size = _which(piece), self._sets.config.image_size
        pictures = []
        for number in piece.numbers:
            try:
                pictures.append(_as_array(dataset.read(number), size))
            except ImageError as error:
                place = redact(dataset.records[number].source)
                raise UserError(
                    f"{which}: {place} cannot be used ({error}); remove the image from the set"
                ) from error
        shapes = sorted({picture.shape[:2] for picture in pictures})
        if len(shapes) > 1:
            text = " and ".join(f"{width} x {height}" for height, width in shapes[:2])
            raise UserError(
                f"{which} has images of {text} pixels; set image_size, to which all are resized"
            )
        return np.stack(pictures)


def _which(piece: Piece) -> str:
    return "real" if piece.real else "generated"


def _as_array(image: Image.Image, size: int | None) -> NDArray[np.uint8]:
    return np.asarray(to_rgb(image)) if size is None else to_square(image, size)


def pieces(real: bool, numbers: Sequence[int]) -> list[Piece]:
    """Cut a set into pieces."""
    starts = range(0, len(numbers), PIECE)
    return [Piece(real, tuple(numbers[start : start + PIECE])) for start in starts]
