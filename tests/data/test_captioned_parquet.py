"""Parquet with a column of captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zsd_ray.config.data import DataConfig
from zsd_ray.data.captioned.captions import CaptionedDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError

CAPTIONS = [["a", "b"], ["c", "a", "d"], ["b", "a"], ["e", "f"]]
RIGHT = [1, 2, 0, 1]


@pytest.fixture
def write(
    picture: Callable[..., Image.Image], encode: Callable[..., bytes], tmp_path: Path
) -> Callable[..., None]:
    """write(captions, labels): two files of two images each."""

    def make(
        captions: Any = CAPTIONS, labels: Any = RIGHT, kind: pa.DataType | None = None
    ) -> None:
        for part in (0, 1):
            rows = slice(2 * part, 2 * part + 2)
            columns = {
                "image": [encode(picture(2 * part)), encode(picture(2 * part + 1))],
                "texts": pa.array(captions[rows], kind or pa.list_(pa.string())),
                "right": labels[rows],
            }
            pq.write_table(pa.table(columns), tmp_path / f"{part}.parquet", row_group_size=1)

    return make


def opened(path: Path, **keys: Any) -> CaptionedDataset:
    keys = {"label_column": "right", "caption_column": "texts", **keys}
    dataset = open_dataset(DataConfig(source="parquet", path=str(path), **keys))
    assert isinstance(dataset, CaptionedDataset)
    assert dataset.label_names is None
    return dataset


@pytest.mark.parametrize("kind", [None, pa.large_list(pa.large_string())])
def test_images_choose_among_their_own(
    write: Callable[..., None],
    picture: Callable[..., Image.Image],
    travel: Callable[[Any], Any],
    tmp_path: Path,
    kind: pa.DataType | None,
) -> None:
    write(kind=kind)
    dataset = travel(opened(tmp_path))
    texts = dataset.captions.texts
    own = [[texts[number] for number in row if number >= 0] for row in dataset.captions.choices]
    assert own == CAPTIONS
    assert [texts[record.label] for record in dataset.records] == ["b", "d", "b", "f"]
    for index in range(4):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), np.asarray(picture(index)))


def test_the_first_is_right_where_no_column_says_which(
    write: Callable[..., None], tmp_path: Path
) -> None:
    write()
    dataset = opened(tmp_path, label_column=None)
    texts = dataset.captions.texts
    assert [texts[record.label or 0] for record in dataset.records] == ["a", "c", "b", "e"]


def test_an_image_may_have_no_label(write: Callable[..., None], tmp_path: Path) -> None:
    write(labels=[1, None, -1, 0])
    labels = [record.label for record in opened(tmp_path).records]
    assert [label is None for label in labels] == [False, True, True, False]


def test_without_captions_labels_are_labels(write: Callable[..., None], tmp_path: Path) -> None:
    write()
    dataset = open_dataset(DataConfig(source="parquet", path=str(tmp_path), label_column="right"))
    assert not isinstance(dataset, CaptionedDataset)
    assert [record.label for record in dataset.records] == RIGHT


def test_mistakes_are_told(write: Callable[..., None], tmp_path: Path) -> None:
    def refused(words: str, **keys: Any) -> None:
        with pytest.raises(UserError, match=words):
            opened(tmp_path, **keys)

    write()
    refused("'text' is no column; there are: image, texts, right", caption_column="text")
    refused("data.caption_column 'right' is int64; captions are", caption_column="right")
    refused("data.label_column 'label' is no column", label_column="label")
    write(labels=[1, 2, 0, 2])
    refused(r"1\.parquet:1: data\.label_column 'right' is 2, but the image has 2 captions")
    write(labels=["a", "d", "b", "f"])
    refused("data.label_column 'right' is string; .* number of an image's right caption")
    for odd in (["a"], [], None, ["a", "a"], ["a", None]):
        write(captions=[["a", "b"], odd, ["b", "a"], ["e", "f"]])
        refused(r"0\.parquet:1: .* an image needs two captions or more, which differ")


def test_captions_are_for_parquet() -> None:
    with pytest.raises(ValueError, match="caption_column says nothing of source folder"):
        DataConfig(source="folder", path="x", caption_column="texts")
    with pytest.raises(ValueError, match="task says nothing of source parquet; remove it"):
        DataConfig(source="parquet", path="x", task="shape")
