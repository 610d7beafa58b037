"""ParquetDataset: files, images, row groups, and how it fails; labels have their own tests."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.data.readers.parquet_images import ImageColumn, RowGroup
from zsd_ray.records.errors import ImageError, UserError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Picture = Callable[..., Image.Image]
Encode = Callable[..., bytes]
Travel = Callable[[ImageDataset], ImageDataset]


def open_parquet(path: object, **keys: Any) -> ImageDataset:
    return open_dataset(DataConfig(source="parquet", path=str(path), **keys))


def write(
    path: Path,
    images: pa.Array | list[bytes],
    labels: pa.Array | list[int],
    rows_in_group: int = 4,
) -> Path:
    if not isinstance(images, pa.Array):
        images = pa.array([{"bytes": data, "path": None} for data in images], STRUCT)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table, path, row_group_size=rows_in_group)
    return path


@pytest.fixture
def images(picture: Picture, encode: Encode) -> list[bytes]:
    """Ten PNG files; number n holds picture(n)."""
    return [encode(picture(seed)) for seed in range(10)]


def assert_reads(dataset: ImageDataset, picture: Picture, seeds: list[int]) -> None:
    assert len(dataset.records) == len(seeds)
    for index, seed in enumerate(seeds):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), np.asarray(picture(seed)))


def labels_of(dataset: ImageDataset) -> list[int | None]:
    return [record.label for record in dataset.records]


@pytest.mark.parametrize("kind", [STRUCT, pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("rows_in_group", [1, 4, 5, 100])
def test_reads_every_row(
    kind: pa.DataType, rows_in_group: int, tmp_path: Path, images: list[bytes], picture: Picture
) -> None:
    cells = [{"bytes": data, "path": "x.png"} for data in images] if kind == STRUCT else images
    path = write(tmp_path / "a.parquet", pa.array(cells, kind), list(range(10)), rows_in_group)
    dataset = open_parquet(path)
    assert_reads(dataset, picture, list(range(10)))
    assert labels_of(dataset) == list(range(10))
    assert dataset.label_names is None
    assert [record.image_id for record in dataset.records] == [f"a.parquet:{n}" for n in range(10)]
    assert dataset.records[7].source == f"{path}:7"


def test_many_files_and_ways_to_name_them(
    tmp_path: Path, images: list[bytes], picture: Picture, memory: str, travel: Travel
) -> None:
    folder = tmp_path / "data"
    write(folder / "b.parquet", images[6:], [6, 7, 8, 9], rows_in_group=3)
    write(folder / "a.parquet", images[:4], [0, 1, 2, 3], rows_in_group=3)
    write(folder / "ab/c.parquet", images[4:6], [4, 5])
    write(folder / ".cache/x.parquet", images, list(range(10)))
    (folder / "README.md").write_text("no Parquet")
    expected = [f"a.parquet:{n}" for n in range(4)] + [f"ab/c.parquet:{n}" for n in range(2)]
    expected += [f"b.parquet:{n}" for n in range(4)]

    whole = open_parquet(folder)
    assert [record.image_id for record in whole.records] == expected
    assert labels_of(whole) == list(range(10))
    assert_reads(whole, picture, list(range(10)))

    pattern = open_parquet(folder / "*.parquet")
    assert [record.image_id for record in pattern.records] == expected[:4] + expected[6:]
    assert_reads(pattern, picture, [0, 1, 2, 3, 6, 7, 8, 9])

    one = open_parquet(folder / "b.parquet")
    assert [record.image_id for record in one.records] == expected[6:]

    fsspec.filesystem("memory").put(f"{folder}/", "/bucket/data", recursive=True)
    for form in ("", "/"):
        remote = open_parquet(memory + form)
        assert [record.image_id for record in remote.records] == expected
        assert remote.records[4].source == "memory:///bucket/data/ab/c.parquet:0"
        assert_reads(travel(remote), picture, list(range(10)))
    deep = open_parquet(memory + "/*/c.parquet")
    assert [record.image_id for record in deep.records] == expected[4:6]
    assert len(open_parquet(memory + "/b.parquet").records) == 4


def test_files_that_are_links_into_a_cache(tmp_path: Path, images: list[bytes]) -> None:
    """As the hub's client stores them."""
    blob = write(tmp_path / "blobs/0f3a", images, list(range(10)))
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/test.parquet").symlink_to(blob)
    for path in ("snapshot", "snapshot/*.parquet", "snapshot/test.parquet"):
        dataset = open_parquet(tmp_path / path)
        assert dataset.records[3].image_id == "test.parquet:3"
        assert dataset.read(3).size == (9, 7)


def test_files_and_row_groups_without_rows(
    tmp_path: Path, images: list[bytes], picture: Picture
) -> None:
    none = pa.array([], pa.int64())
    write(tmp_path / "a.parquet", [], none)
    write(tmp_path / "b.parquet", images[:5], [0, 1, 2, 3, 4], rows_in_group=2)
    write(tmp_path / "c.parquet", [], none)
    write(tmp_path / "d.parquet", images[5:], [5, 6, 7, 8, 9], rows_in_group=5)
    assert_reads(open_parquet(tmp_path), picture, list(range(10)))


def test_other_column_names(tmp_path: Path, images: list[bytes], picture: Picture) -> None:
    cells = pa.array([{"bytes": data, "path": None} for data in images], STRUCT)
    table = pa.table({"y.fine": list(range(10)), "img": cells, "image": ["decoy"] * 10})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    dataset = open_parquet(tmp_path, image_column="img", label_column="y.fine")
    assert labels_of(dataset) == list(range(10))
    assert_reads(dataset, picture, list(range(10)))


def test_listing_reads_no_images(tmp_path: Path, images: list[bytes]) -> None:
    """Where the image pages are rubbish, listing succeeds and each read fails alone."""
    path = write(tmp_path / "a.parquet", images, list(range(10)), rows_in_group=5)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    assert column.path_in_schema == "image.bytes"
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    dataset = open_parquet(path)
    assert labels_of(dataset) == list(range(10))
    for index in (0, 4, 0):
        with pytest.raises(ImageError, match=rf"a\.parquet:{index}: cannot be read") as caught:
            dataset.read(index)
        assert "\n" not in str(caught.value)
    assert dataset.read(5).size == (9, 7)


def test_two_row_groups_are_kept_and_none_is_read_twice(
    tmp_path: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_parquet(write(tmp_path / "a.parquet", images, list(range(10)), rows_in_group=2))
    read_groups = []
    real = ImageColumn.read

    def note(self: ImageColumn, opened: Any, number: int) -> RowGroup:
        read_groups.append(number)
        return real(self, opened, number)

    monkeypatch.setattr(ImageColumn, "read", note)
    for index in (0, 1, 2, 0, 3, 1):
        dataset.read(index)
    assert read_groups == [0, 1]
    dataset.read(4)  # group 2 drives out group 1, which was used least recently
    dataset.read(0)
    dataset.read(2)
    assert read_groups == [0, 1, 2, 1]

    read_groups.clear()
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda index: dataset.read(index).size, [6, 7, 8, 9] * 25))
    assert sizes == [(9, 7)] * 100
    assert sorted(read_groups) == [3, 4]


def test_pickles_metadata_only(
    tmp_path: Path, picture: Picture, encode: Encode, travel: Travel
) -> None:
    large = [encode(picture(seed, 200, 200)) for seed in range(4)]
    dataset = open_parquet(write(tmp_path / "a.parquet", large, [0, 1, 2, 3], rows_in_group=2))
    fresh = len(pickle.dumps(dataset))
    dataset.read(0)
    assert len(pickle.dumps(dataset)) == fresh < 3000
    again = travel(dataset)
    np.testing.assert_array_equal(np.asarray(again.read(3)), np.asarray(picture(3, 200, 200)))


def test_bad_cells_fail_alone(tmp_path: Path, images: list[bytes], encode: Encode) -> None:
    cells = [
        {"bytes": images[0], "path": "a.png"},
        None,
        {"bytes": None, "path": "b.png"},
        {"bytes": b"", "path": None},
        {"bytes": b"text", "path": None},
        {"bytes": images[5][:-40], "path": None},
        {"bytes": images[6], "path": None},
    ]
    path = write(tmp_path / "a.parquet", pa.array(cells, STRUCT), list(range(7)))
    dataset = open_parquet(path)
    reasons = {
        1: "column 'image' is null",
        2: r"the file 'b\.png': cannot be read \(no such file",
        3: "empty",
        4: "not an image",
        5: "cannot be decoded",
    }
    for index, reason in reasons.items():
        with pytest.raises(ImageError, match=reason) as caught:
            dataset.read(index)
        assert str(caught.value).startswith(f"{path}:{index}: ")
        assert "\n" not in str(caught.value)
    assert dataset.read(0).size == dataset.read(6).size == (9, 7)


def test_a_vanished_file_is_an_image_error(tmp_path: Path, images: list[bytes]) -> None:
    write(tmp_path / "a.parquet", images[:5], list(range(5)))
    write(tmp_path / "b.parquet", images[5:], list(range(5)))
    dataset = open_parquet(tmp_path)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ImageError, match=r"cannot be read.*no such file"):
        dataset.read(0)
    assert dataset.read(5).size == (9, 7)


def user_error(path: object, **keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        open_parquet(path, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_image_column(tmp_path: Path, images: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", images, list(range(10)))
    message = user_error(path, image_column="img")
    assert message == "data.image_column 'img' is no column of a.parquet; it has: image, label"


def test_image_columns_of_the_wrong_type(tmp_path: Path, images: list[bytes]) -> None:
    table = pa.table(
        {
            "image": images,
            "name": ["x.png"] * 10,
            "half": [0.5] * 10,
            "odd": pa.array([{"path": "x"}] * 10),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    for column, kind in (("name", "string"), ("half", "double"), ("odd", "struct<path: string>")):
        message = user_error(tmp_path, image_column=column, label_column=None)
        assert f"data.image_column {column!r} of a.parquet is {kind}; " in message


def test_paths_that_hold_nothing(tmp_path: Path, images: list[bytes], memory: str) -> None:
    for root in (str(tmp_path), memory):
        for name in ("gone.parquet", "gone", "*.parquet"):
            assert f"data.path {root}/{name} is no file" in user_error(f"{root}/{name}")
    (tmp_path / "notes.txt").write_text("text")
    assert "holds no .parquet files" in user_error(tmp_path)
    write(tmp_path / "empty.parquet", [], pa.array([], pa.int64()))
    assert "holds no images" in user_error(tmp_path)


def test_files_that_are_not_parquet(tmp_path: Path, images: list[bytes]) -> None:
    whole = write(tmp_path / "a.parquet", images, list(range(10))).read_bytes()
    for content in (b"", b"text that is no Parquet", whole[:-100], whole[:200]):
        (tmp_path / "a.parquet").write_bytes(content)
        message = user_error(tmp_path / "a.parquet")
        assert message.startswith(f"cannot read a.parquet of data.path {tmp_path}/a.parquet as")


def test_cifar10(shared_data: Path) -> None:
    path = shared_data / "cifar10" / "test.parquet"
    dataset = open_parquet(path)
    table = pq.read_table(path)
    assert len(dataset.records) == 10_000
    assert labels_of(dataset) == table["label"].to_pylist()
    named = open_parquet(path, label_column="class_name")
    assert named.label_names == sorted(set(table["class_name"].to_pylist()))
    assert labels_of(named) == labels_of(dataset)  # alphabetical, so the two agree
    for index in (0, 999, 1000, 5432, 9999):
        cell = table["image"][index].as_py()["bytes"]
        expected = Image.open(pa.BufferReader(cell))
        image = dataset.read(index)
        assert image.size == (32, 32)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_mnist(shared_data: Path, tmp_path: Path, encode: Encode) -> None:
    folder = shared_data / "mnist"
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    levels = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)[:100]
    files = [encode(Image.fromarray(digit)) for digit in levels]
    path = write(tmp_path / "mnist.parquet", files, list(labels[:100]), rows_in_group=30)
    dataset = open_parquet(path)
    assert labels_of(dataset)[:5] == [7, 2, 1, 0, 4]
    for index in range(100):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), levels[index])
