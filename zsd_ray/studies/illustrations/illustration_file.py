"""OUTPUT/illustrations/: illustrations of a few images of a run by its model, as arrays.

illustrations.json says what there is; the arrays are in .npz files without Python objects, which
`numpy.load` opens as it is. Shapes: K classes of an image, S x S pixels, h x w of a map, L levels,
n noises, M pictures of an arc, R classes of a pair of images.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = "illustrations"

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Settings:
    """How they were made.

    level, steps: of inversion and denoising; levels, level_steps, noises: of the distances.
    orders: of the classes in a prompt, over which attention is averaged.
    """

    level: float
    steps: int
    levels: list[float]
    level_steps: int
    noises: int
    orders: int


@dataclass(frozen=True, eq=False)
class ImagePictures:
    """One image under K classes: its own, the prediction, and the run's next ones.

    label, prediction, classes: class numbers of the run. names: of `classes`.
    picture: (S, S, 3) uint8, as the model takes it.
    distances: (K, L, n) float32, from x_0 after noise to a level and denoising, mean squared.
    exchanged: (K, K, S, S, 3) uint8, encoded under the first class and decoded under the second;
        differences: (K, K) float32, of their x from x_0, mean squared. None: the model cannot.
    attention: (K, h, w) float32, to the tokens of each class; None: the model cannot.
    """

    image_id: str
    source: str
    label: int | None
    prediction: int
    classes: tuple[int, ...]
    names: tuple[str, ...]
    picture: Pictures
    distances: NDArray[np.float32]
    exchanged: Pictures | None = None
    differences: NDArray[np.float32] | None = None
    attention: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class PairPictures:
    """From one image to another, at even shares of the arc between their latents.

    first, last: numbers of the images, from 0. names: of the R classes of their rows.
    pictures: (R, M, S, S, 3) uint8.
    """

    first: int
    last: int
    classes: tuple[int, ...]
    names: tuple[str, ...]
    pictures: Pictures


@dataclass(frozen=True, eq=False)
class Illustrations:
    """run: the output, without passwords. left_out: a line for each part that is not there."""

    run: str
    model: str
    seed: int
    settings: Settings
    images: list[ImagePictures]
    pairs: list[PairPictures]
    left_out: list[str]

    def index(self) -> dict[str, object]:
        """Return the index as plain values; `file` is in the same folder."""
        return {
            "run": self.run,
            "model": self.model,
            "seed": self.seed,
            "settings": asdict(self.settings),
            "images": [_entry(each, f"image-{i}.npz") for i, each in enumerate(self.images, 1)],
            "pairs": [_entry(each, f"pair-{i}.npz") for i, each in enumerate(self.pairs, 1)],
            "left_out": self.left_out,
        }

    def files(self) -> Mapping[str, bytes]:
        """The content of each file by its name in the output, the index last."""
        found = {f"image-{i}.npz": _npz(each) for i, each in enumerate(self.images, 1)}
        found |= {f"pair-{i}.npz": _npz(each) for i, each in enumerate(self.pairs, 1)}
        found["illustrations.json"] = self.to_json().encode()
        return {f"{FOLDER}/{name}": content for name, content in found.items()}

    def to_json(self) -> str:
        return json.dumps(self.index(), indent=2, ensure_ascii=False) + "\n"


_ARRAYS = ("picture", "distances", "exchanged", "differences", "attention", "pictures")


def _entry(each: ImagePictures | PairPictures, file: str) -> dict[str, object]:
    plain = {name: value for name, value in vars(each).items() if name not in _ARRAYS}
    return {**plain, "file": file, "arrays": list(_arrays(each))}


def _arrays(each: ImagePictures | PairPictures) -> dict[str, NDArray[Any]]:
    found = {name: getattr(each, name, None) for name in _ARRAYS}
    return {name: array for name, array in found.items() if array is not None}


def _npz(each: ImagePictures | PairPictures) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **_arrays(each))
    return buffer.getvalue()
