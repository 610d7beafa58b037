"""`data.compatible: torchvision` gives the pixels of `Image.open(file).convert("RGB")`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.hostile import pictures
from tests.support.tars import write_tar
from zsd_ray.config.data import DataConfig
from zsd_ray.data.open import open_dataset
from zsd_ray.data.pictures.torchvision_pictures import as_torchvision
from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.records.errors import ImageError

TURNED = {
    f"turned {number}": pictures.encoded(pictures.photograph(), exif=pictures.exif(number))
    for number in range(1, 9)
}
FILES = {**pictures.sound(), **pictures.unknown(), **TURNED}
NOT_FINITE = ("NaN", "infinite", "minus infinite", "all NaN")
"""Refused in any reading."""


def theirs(data: bytes) -> Image.Image:
    """torchvision.datasets.folder.pil_loader, of a file in memory."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def in_folder(root: Path, files: list[bytes]) -> DataConfig:
    (root / "set" / "a").mkdir(parents=True)
    (root / "set" / "b").mkdir()
    for number, data in enumerate(files):
        (root / "set" / "ab"[number % 2] / f"{number:03}.png").write_bytes(data)
    return DataConfig(source="folder", path=str(root / "set"), compatible="torchvision")


def in_parquet(root: Path, files: list[bytes]) -> DataConfig:
    table = pa.table({"image": files, "label": [n % 2 for n in range(len(files))]})
    pq.write_table(table, root / "set.parquet")
    path = str(root / "set.parquet")
    return DataConfig(source="parquet", path=path, compatible="torchvision")


def in_tar(root: Path, files: list[bytes]) -> DataConfig:
    parts = [
        (f"{number:03}.{end}", content)
        for number, data in enumerate(files)
        for end, content in (("png", data), ("cls", b"%d" % (number % 2)))
    ]
    write_tar(root / "set.tar", parts)
    return DataConfig(source="webdataset", path=str(root / "set.tar"), compatible="torchvision")


def in_layout(root: Path, files: list[bytes]) -> DataConfig:
    for number, data in enumerate(files):
        folder = root / "set" / "2750" / ("Forest", "River")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03}.jpg").write_bytes(data)
    path = str(root / "set")
    return DataConfig(source="eurosat", path=path, compatible="torchvision")


@pytest.mark.filterwarnings("ignore:Palette images")
@pytest.mark.parametrize("write", [in_folder, in_parquet, in_tar, in_layout])
def test_every_reader_gives_the_pixels_of_pillow_alone(
    write: Callable[[Path, list[bytes]], DataConfig],
    tmp_path: Path,
    travel: Callable[[Any], Any],
) -> None:
    files = [data for name, data in FILES.items() if name not in NOT_FINITE]
    dataset = travel(open_dataset(write(tmp_path, files)))
    assert len(dataset.records) == len(files) > 50
    for index, record in enumerate(dataset.records):
        number = int("".join(filter(str.isdigit, record.source.rpartition("/")[2]))[-3:])
        expected = np.asarray(theirs(files[number]))
        # What a model is shown goes through to_rgb, which must find nothing to do.
        found = np.asarray(to_rgb(dataset.read(index)))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.few(4)
@pytest.mark.filterwarnings("ignore:Palette images")
@pytest.mark.parametrize("name", FILES)
def test_it_is_not_ours_where_the_two_differ(name: str) -> None:
    """Alpha, EXIF and depth are what they differ in; all else is alike."""
    if name in NOT_FINITE:
        return
    data = FILES[name]
    try:
        ours = np.asarray(to_rgb(Image.open(io.BytesIO(data))))
    except ImageError:
        return
    same = np.array_equal(ours, np.asarray(theirs(data)))
    apart = ("16-bit", "32", "float", "transparent", "alpha", "turned", "12-bit", "2-bit")
    if not any(word in name for word in apart):
        assert same


@pytest.mark.parametrize("name", NOT_FINITE)
def test_what_is_not_finite_has_no_reading(name: str, tmp_path: Path) -> None:
    dataset = open_dataset(in_parquet(tmp_path, [pictures.unknown()[name]] * 2))
    with pytest.raises(ImageError, match=r"set\.parquet:0: "):
        dataset.read(0)


def test_corruption_comes_after_it(tmp_path: Path) -> None:
    image = pictures.photograph(20, 20).convert("RGBA")
    image.putalpha(0)
    config = in_parquet(tmp_path, [pictures.encoded(image)] * 2)
    damaged = config.model_dump() | {"corruption": {"kind": "contrast", "strength": 1}}
    dataset = open_dataset(DataConfig.model_validate(damaged))
    assert np.asarray(dataset.read(0)).std() > 10  # on white it would be white all over


def test_a_picture_of_one_colour_that_is_transparent_stays() -> None:
    for change, expected in ((to_rgb, (255, 255, 255)), (as_torchvision, (255, 0, 0))):
        red = Image.new("RGB", (2, 2), (255, 0, 0))
        red.info["transparency"] = (255, 0, 0)
        assert to_rgb(change(red)).getpixel((0, 0)) == expected
