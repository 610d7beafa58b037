"""The digits that ship with scikit-learn: 1,797 real handwritten digits, 8x8, 16 grey levels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from zsd_ray.data.record_table import RecordTable

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
N_TEST = 500


class Digits:
    """The test split holds 500 images, stratified by class and fixed; the others are for
    training."""

    label_names = NAMES

    def __init__(self, split: Literal["train", "test"]) -> None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        train, test = train_test_split(
            np.arange(len(digits.target)),
            test_size=N_TEST,
            stratify=digits.target,
            random_state=0,
        )
        chosen = sorted(train if split == "train" else test)
        self._images = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)
        self.records = RecordTable(
            [f"digits/{row:04d}" for row in chosen],
            [f"sklearn.datasets.load_digits()[{row}]" for row in chosen],
            digits.target[chosen].tolist(),
        )

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(self._images[index])
