"""The label column of Parquet files: types, names, and files that contradict each other."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError


def write(path: Path, labels: pa.Array | list[object], huggingface: str | None = None) -> None:
    """One file with these labels; the images are empty, as no test here reads one."""
    table = pa.table({"image": [b""] * len(labels), "label": labels})
    if huggingface is not None:
        table = table.replace_schema_metadata({"huggingface": huggingface})
    pq.write_table(table, path)


def class_label(names: list[str]) -> str:
    """As Hugging Face's datasets writes it."""
    feature = {"names": names, "_type": "ClassLabel"}
    return json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": feature}}})


def open_folder(path: Path, column: str | None = "label") -> ImageDataset:
    return open_dataset(DataConfig(source="parquet", path=str(path), label_column=column))


def labels_of(dataset: ImageDataset) -> list[int | None]:
    return [record.label for record in dataset.records]


def test_class_label_metadata_names_the_labels(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [2, 0, -1, None], class_label(["cat", "ape", "dog"]))
    dataset = open_folder(tmp_path)
    assert dataset.label_names == ["cat", "ape", "dog"]  # in the metadata's order
    assert labels_of(dataset) == [2, 0, None, None]


@pytest.mark.parametrize(
    "metadata", ["no json", "[]", "{}", '{"info": {"features": {"label": 3}}}', class_label([])]
)
def test_metadata_of_another_layout_is_left_alone(metadata: str, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [0, 1], metadata)
    assert open_folder(tmp_path).label_names is None


def test_labels_beyond_the_class_label_names(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [0, 3], class_label(["cat", "dog"]))
    with pytest.raises(UserError, match="holds 3, but its ClassLabel metadata names only 0 to 1"):
        open_folder(tmp_path)


def test_files_that_name_their_labels_differently(tmp_path: Path) -> None:
    """Read together, a label would mean two things."""
    write(tmp_path / "a.parquet", [0, 1], class_label(["cat", "dog"]))
    write(tmp_path / "b.parquet", [0, 1], class_label(["dog", "cat"]))
    with pytest.raises(UserError, match=r"b\.parquet names .* differently"):
        open_folder(tmp_path)


def test_a_file_without_names_beside_one_with_names(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [0, 1])
    write(tmp_path / "b.parquet", [1], class_label(["cat", "dog"]))
    write(tmp_path / "c.parquet", [0])
    dataset = open_folder(tmp_path)
    assert dataset.label_names == ["cat", "dog"]
    assert labels_of(dataset) == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_labels_are_numbered_over_all_files(kind: pa.DataType, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.array(["dog", None, "ape"]).cast(kind))
    write(tmp_path / "b.parquet", pa.array(["cat", "dog"]).cast(kind))
    dataset = open_folder(tmp_path)
    assert dataset.label_names == ["ape", "cat", "dog"]
    assert labels_of(dataset) == [2, None, 0, 1, 2]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64()])
def test_int_labels_of_any_width(kind: pa.DataType, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.array([5, None, 0], kind))
    assert labels_of(open_folder(tmp_path)) == [5, None, 0]


def test_no_label_column(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [3, 4])
    dataset = open_folder(tmp_path, column=None)
    assert labels_of(dataset) == [None, None]
    assert dataset.label_names is None


@pytest.mark.parametrize("kind", [pa.null(), pa.int64(), pa.string()])
def test_a_label_column_of_nulls(kind: pa.DataType, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.nulls(3, kind))
    dataset = open_folder(tmp_path)
    assert labels_of(dataset) == [None] * 3
    assert dataset.label_names is None


def test_a_file_of_nulls_among_others(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.nulls(2))
    write(tmp_path / "b.parquet", ["cat", "ape"])
    write(tmp_path / "c.parquet", pa.nulls(1))
    assert labels_of(open_folder(tmp_path)) == [None, None, 1, 0, None]


@pytest.mark.parametrize("kind", [pa.float64(), pa.binary(), pa.list_(pa.int64())])
def test_other_types_are_refused(kind: pa.DataType, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.nulls(2, kind))
    with pytest.raises(UserError, match=r"a\.parquet is .*; labels are ints or strings"):
        open_folder(tmp_path)


def test_yes_and_no_are_one_and_zero(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [True, False, None, True])
    dataset = open_folder(tmp_path)
    assert labels_of(dataset) == [1, 0, None, 1]
    assert dataset.label_names is None


def test_files_of_different_types(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [0, 1])
    write(tmp_path / "b.parquet", ["cat", "dog"])
    with pytest.raises(UserError, match=r"is string in b\.parquet and another type"):
        open_folder(tmp_path)


def test_a_missing_column(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [0, 1])
    with pytest.raises(UserError) as caught:
        open_folder(tmp_path, column="fine")
    assert str(caught.value) == (
        "data.label_column 'fine' is no column of a.parquet; it has: image, label (or set it to "
        "null for images without labels)"
    )


def test_a_blank_text_is_no_label(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["dog", "", "cat", " ", None])
    dataset = open_folder(tmp_path)
    assert labels_of(dataset) == [1, None, 0, None, None]
    assert dataset.label_names == ["cat", "dog"]
