"""Tars that strangers made: every image is read, or one line says what is wrong."""

from __future__ import annotations

import os
import random
import socket
import tracemalloc
from pathlib import Path

import pytest

from tests.hostile import archives, parquet
from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.labels.classes import resolve_classes
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import ImageError, UserError

MEGABYTE = 2**20


def opened(path: Path, source: str = "webdataset") -> ImageDataset:
    return open_dataset(DataConfig.model_validate({"source": source, "path": str(path)}))


def refusal(path: Path) -> str:
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            opened(path)
        assert tracemalloc.get_traced_memory()[1] < 60 * MEGABYTE
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message or "holds no images" in message
    assert len(message) < 700
    return message


@pytest.mark.parametrize("name", archives.whole())
def test_no_image_is_lost(name: str, tmp_path: Path) -> None:
    content, keys = archives.whole()[name]
    (tmp_path / "a.tar").write_bytes(content)
    dataset = opened(tmp_path)
    assert [record.image_id for record in dataset.records] == [f"a.tar:{key}" for key in keys]
    for index in range(len(keys)):
        assert dataset.read(index).size == (4, 3)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", archives.refused())
def test_what_is_damaged_or_lies_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archives.refused()[name])
    refusal(tmp_path / "a.tar")


@pytest.mark.few(4)
@pytest.mark.parametrize("name", archives.labels())
def test_labels_that_are_none_are_refused(name: str, tmp_path: Path) -> None:
    extension, content = archives.labels()[name]
    plain = archives.member("0.png", archives.image()) + archives.member(
        f"0.{extension}", b"0" if extension == "cls" else b'{"label": 0}'
    )
    odd = archives.member("1.png", archives.image()) + archives.member(f"1.{extension}", content)
    (tmp_path / "a.tar").write_bytes(plain + odd + archives.END)
    refusal(tmp_path / "a.tar")


def test_what_a_fuzzer_makes_of_a_tar_ends_in_images_or_in_one_line(tmp_path: Path) -> None:
    rng = random.Random(1)
    good = b"".join(archives.sample(str(n), n % 2, n) for n in range(4)) + archives.END
    file = tmp_path / "a.tar"
    for _ in range(60):
        file.write_bytes(good)
        said = archives.damage(file, rng)
        assert "\n" not in read_all(file), said


def read_all(file: Path) -> str:
    """What is said of a tar, or of one of its images."""
    said = ""
    try:
        dataset = opened(file)
        resolve_classes(["a", "b"], None, (record.label for record in dataset.records))
        for index in range(len(dataset.records)):
            try:
                dataset.read(index)
            except ImageError as error:
                said = str(error)
    except UserError as error:
        said = str(error)
    return said


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of two images."""
    for name in ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"):
        (tmp_path / "photographs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photographs" / name).write_bytes(archives.image())
    return tmp_path / "photographs"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


ODD = {
    "a pipe": (_pipe, "it is a pipe, a socket or a device, and no file"),
    "a socket": (_socket, "it is a pipe, a socket or a device, and no file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "and no file"),
    "a link to nothing": (lambda path: path.symlink_to("gone.png"), "no such file or folder"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "(?i)symbolic links"),
    "an empty file": (lambda path: path.touch(), "0 bytes|empty|identify"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_file_in_a_class_folder_is_an_image_error(name: str, photographs: Path) -> None:
    """A pipe would wait for a writer for ever, and a device never end."""
    make, message = ODD[name]
    make(photographs / "cat/odd.png")
    dataset = opened(photographs, "folder")
    ids = [record.image_id for record in dataset.records]
    assert len(ids) == 5
    with pytest.raises(ImageError, match=message):
        dataset.read(ids.index("cat/odd.png"))
    assert all(dataset.read(n).size == (4, 3) for n in range(5) if ids[n] != "cat/odd.png")


@pytest.mark.parametrize("source", ["webdataset", "parquet", "folder"])
def test_names_that_are_not_utf8_are_refused(source: str, photographs: Path) -> None:
    content = {
        "webdataset": (b"\xff.tar", archives.sample("0") + archives.END),
        "parquet": (b"\xff.parquet", parquet.good()),
        "folder": (b"cat/\xff.png", archives.image()),
    }
    name, data = content[source]
    with open(os.fsencode(photographs) + b"/" + name, "wb") as file:
        file.write(data)
    with pytest.raises(UserError, match=r"not UTF-8: .*udcff.*; rename it"):
        opened(photographs, source)


def test_a_folder_called_as_an_image_is_none(photographs: Path) -> None:
    (photographs / "cat/odd.png").mkdir()
    assert len(opened(photographs, "folder").records) == 4


def test_links_that_lead_to_each_other_end(photographs: Path) -> None:
    (photographs / "cat/dogs").symlink_to(photographs / "dog")
    (photographs / "dog/cats").symlink_to(photographs / "cat")
    (photographs / "dog/all").symlink_to("/")
    ids = {record.image_id for record in opened(photographs, "folder").records}
    assert ids == {
        *(f"{name}/{n}.png" for name in ("cat", "dog", "cat/dogs", "dog/cats") for n in (0, 1))
    }


@pytest.mark.parametrize("source", ["webdataset", "parquet", "folder"])
def test_a_pipe_as_the_data_does_not_wait(source: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(UserError, match=r"pipe|is a file|no such file"):
        opened(tmp_path / "a.tar", source)
