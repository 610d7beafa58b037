"""`data.group_column`: groups of images, each with an accuracy of its own."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsd_ray.config.data import DataConfig
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError
from zsd_ray.results.image_parts import png


@pytest.fixture
def folder(tmp_path):
    for part, groups in enumerate([["land", None], ["water", "land"]]):
        table = {
            "image": [png(np.full((8, 8, 3), part + n, np.uint8)) for n in (0, 2)],
            "label": [0, 1],
            "place": groups,
            "number": [part, 7],
            "odd": [1.5, 2.5],
        }
        pq.write_table(pa.table(table), tmp_path / f"part-{part}.parquet")
    return tmp_path


def opened(folder, column):
    return open_dataset(DataConfig(source="parquet", path=str(folder), group_column=column))


def test_each_image_has_its_group(folder):
    records = opened(folder, "place").records
    assert [record.group for record in records] == ["land", None, "water", "land"]
    assert [record.group for record in records[1:3]] == [None, "water"]
    assert records[2].group == "water"
    relabelled = records.relabelled([None] * 4)
    assert [record.group for record in relabelled] == ["land", None, "water", "land"]


def test_a_number_is_its_own_name(folder):
    assert [record.group for record in opened(folder, "number").records] == ["0", "7", "1", "7"]


def test_without_the_key_no_image_has_one(folder):
    assert {record.group for record in opened(folder, None).records} == {None}


@pytest.mark.parametrize(
    ("column", "words"),
    [("nowhere", "is no column; there are: image, label, place"), ("odd", "is double; groups are")],
)
def test_a_column_that_names_no_groups_is_refused(folder, column, words):
    with pytest.raises(UserError, match=words):
        opened(folder, column)


def test_it_is_a_key_of_parquet_alone():
    with pytest.raises(ValueError, match="group_column says nothing of source digits"):
        DataConfig(source="digits", group_column="x")
