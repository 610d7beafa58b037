"""Parquet that others wrote: images are read, or one line says what is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from tests.hostile import parquet
from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.labels.classes import resolve_classes
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import ImageError, UserError


def opened(path: Path | str, **keys: object) -> ImageDataset:
    tree = {"source": "parquet", "path": str(path), **keys}
    return open_dataset(DataConfig.model_validate(tree))


def refusal(path: Path, **keys: object) -> str:
    with pytest.raises(UserError) as caught:
        opened(path, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


@pytest.mark.parametrize("name", parquet.whole())
def test_every_type_of_images_and_labels_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet.whole()[name])
    dataset = opened(tmp_path)
    assert [record.label for record in dataset.records] == [0, 1, 0, 1]
    for index in range(parquet.N_ROWS):
        assert dataset.read(index).convert("L").getpixel((1, 1)) == 50 + index


@pytest.mark.few(4)
@pytest.mark.parametrize("name", parquet.refused())
def test_what_is_no_data_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet.refused()[name])
    assert "a.parquet" in refusal(tmp_path / "a.parquet") or name == "no rows"


def test_rows_that_the_file_cannot_hold_are_refused_without_labels_too(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet.lying_rows(2**40))
    assert "cannot hold the 1099511627776 rows" in refusal(tmp_path, label_column=None)


class TestPaths:
    """Bytes are null, and paths say where the images lie."""

    def test_below_the_folder_of_the_file_and_absolute_ones(self, tmp_path: Path) -> None:
        for n, name in enumerate(("data/0.bmp", "data/photos/1.bmp", "elsewhere/2.bmp")):
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_bytes(parquet.image(n))
        names = ("0.bmp", "photos/1.bmp", str(tmp_path / "elsewhere/2.bmp"))
        (tmp_path / "data/a.parquet").write_bytes(parquet.paths(*names))
        with pytest.warns(UserWarning, match=r"3 of 3 images of data\.path .* are paths of files"):
            dataset = opened(tmp_path / "data")
        for n in range(3):
            assert dataset.read(n).convert("L").getpixel((0, 0)) == 50 + n

    def test_in_a_store(self, memory: str) -> None:
        store = fsspec.filesystem("memory")
        store.pipe("/bucket/data/photos/0.bmp", parquet.image(7))
        names = ("photos/0.bmp", "/bucket/data/photos/0.bmp")
        store.pipe("/bucket/data/a.parquet", parquet.paths(*names))
        with pytest.warns(UserWarning, match="2 of 2 images"):
            dataset = opened(memory)
        assert dataset.read(0).convert("L").getpixel((0, 0)) == 57
        with pytest.raises(ImageError, match=r"'/bucket/data/photos/0\.bmp'.*is not followed"):
            dataset.read(1)

    def test_that_lead_nowhere_are_said_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "a.parquet").write_bytes(parquet.paths("gone/0.png", "gone/1.png"))
        message = refusal(tmp_path)
        assert "a.parquet holds paths of images and no bytes" in message
        assert "the first, 'gone/0.png', is no file here" in message

    @pytest.mark.parametrize("path", parquet.outside())
    def test_that_lead_elsewhere_are_not_followed(self, path: str, tmp_path: Path) -> None:
        (tmp_path / "secret.png").write_bytes(parquet.image())
        (tmp_path / "data/a").mkdir(parents=True)
        (tmp_path / "data/0.bmp").write_bytes(parquet.image())
        (tmp_path / "data/a.parquet").write_bytes(parquet.paths("0.bmp", path))
        with pytest.warns(UserWarning, match="2 of 2 images"):
            dataset = opened(tmp_path / "data")
        with pytest.raises(ImageError, match=r"a\.parquet:1: .* cannot be read"):
            dataset.read(1)
        (tmp_path / "data/a.parquet").write_bytes(parquet.paths(path, "0.bmp"))
        assert "is no file here" in refusal(tmp_path / "data")

    def test_beside_bytes_are_read_one_by_one(self, tmp_path: Path) -> None:
        cells = [{"bytes": parquet.image(1), "path": "1.bmp"}, {"bytes": None, "path": "2.bmp"}]
        columns = {"image": pa.array(cells, parquet.STRUCT), "label": [0, 1]}
        (tmp_path / "a.parquet").write_bytes(parquet.written(columns))
        (tmp_path / "2.bmp").write_bytes(parquet.image(2))
        dataset = opened(tmp_path)
        assert [dataset.read(n).convert("L").getpixel((0, 0)) for n in (0, 1)] == [51, 52]


def test_what_a_fuzzer_makes_of_a_file_ends_in_images_or_in_one_line(tmp_path: Path) -> None:
    rng = random.Random(1)
    file = tmp_path / "a.parquet"
    for _ in range(100):
        file.write_bytes(parquet.good())
        said = parquet.damage(file, rng)
        assert "\n" not in read_all(file), said


@pytest.mark.filterwarnings("ignore:.*are paths of files")
def read_all(file: Path) -> str:
    """What is said of a file, or of one of its images."""
    said = ""
    try:
        dataset = opened(file)
        resolve_classes(["a", "b"], None, (record.label for record in dataset.records))
        for index in range(min(9, len(dataset.records))):
            try:
                dataset.read(index)
            except ImageError as error:
                said = str(error)
    except UserError as error:
        said = str(error)
    return said
