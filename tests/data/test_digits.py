"""The digits that ship with scikit-learn."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import numpy as np
import pytest
from sklearn.datasets import load_digits

from zsd_ray.config.data import DataConfig
from zsd_ray.data.open import open_dataset
from zsd_ray.data.readers.digits import NAMES, Digits


def rows_of(digits: Digits) -> list[int]:
    return [int(record.image_id.removeprefix("digits/")) for record in digits.records]


def test_the_splits_share_no_image_and_cover_all() -> None:
    train, test = rows_of(Digits("train")), rows_of(Digits("test"))
    assert len(test) == 500
    assert sorted(train + test) == list(range(1797))


def test_the_test_split_is_stratified() -> None:
    labels = [record.label for record in Digits("test").records]
    every = load_digits().target
    for digit in range(10):
        assert abs(labels.count(digit) - 500 * np.mean(every == digit)) <= 1


def test_the_split_is_fixed() -> None:
    """Published numbers rest on these 500 images; a new scikit-learn must not move them."""
    ids = "\n".join(record.image_id for record in Digits("test").records)
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == "c2f0d5a05cd8b75c"


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_and_labels_are_those_of_the_source(split: Literal["train", "test"]) -> None:
    dataset = open_dataset(DataConfig(split=split))
    source = load_digits()
    assert dataset.label_names == NAMES
    for index in range(0, len(dataset.records), 50):
        record = dataset.records[index]
        named = re.search(r"\[(\d+)\]", record.source)
        assert named is not None
        row = int(named[1])
        assert record.label == source.target[row]
        image = dataset.read(index)
        assert image.mode == "L"
        # 17 levels of grey, 0 to 16, over the range of a byte
        levels = np.asarray(image).astype(int)
        np.testing.assert_array_equal(levels, (source.images[row] * 255 / 16).round())
