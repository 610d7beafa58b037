"""FolderDataset: what it lists, in which order, what it reads, and how it fails."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset, spread
from zsd_ray.data.open import open_dataset
from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.data.readers.folder import EXTENSIONS, FolderDataset
from zsd_ray.records.errors import ImageError, StoreError, UserError

Picture = Callable[..., Image.Image]
Encode = Callable[..., bytes]
Travel = Callable[[ImageDataset], ImageDataset]


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def open_folder(path: object) -> ImageDataset:
    return open_dataset(DataConfig(source="folder", path=str(path)))


def index_of(dataset: ImageDataset, image_id: str) -> int:
    return [record.image_id for record in dataset.records].index(image_id)


@pytest.fixture
def pets(tmp_path: Path, picture: Picture, encode: Encode) -> Path:
    """Two classes; cat/0.png to dog/4.png hold picture(0) to picture(9)."""
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(5)]
    images = {name: encode(picture(seed)) for seed, name in enumerate(names)}
    return write(tmp_path / "pets", images)


def test_lists_and_reads(pets: Path, picture: Picture) -> None:
    dataset = open_folder(pets)
    assert dataset.label_names == ["cat", "dog"]
    assert len(dataset.records) == 10
    for index, record in enumerate(dataset.records):
        kind, number = record.image_id.removesuffix(".png").split("/")
        assert record.source == f"{pets}/{record.image_id}"
        assert record.label == ("cat", "dog").index(kind)
        expected = picture(int(number) + (5 if kind == "dog" else 0))
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), np.asarray(expected))


def test_a_deeper_file_counts_to_its_class_folder(pets: Path) -> None:
    (pets / "cat/indoor/night").mkdir(parents=True)
    (pets / "cat/0.png").rename(pets / "cat/indoor/night/0.png")
    dataset = open_folder(pets)
    assert dataset.label_names == ["cat", "dog"]
    assert dataset.records[index_of(dataset, "cat/indoor/night/0.png")].label == 0


def test_only_images_count_and_hidden_ones_do_not(pets: Path) -> None:
    before = [record.image_id for record in open_folder(pets).records]
    write(
        pets,
        {
            "cat/notes.txt": b"text",
            "cat/png": b"a name without extension",
            "cat/.hidden.png": b"",
            "cat/.cache/thumb.png": b"",
            ".git/x.png": b"",
            "preview.png": b"an image of no class",
            "labels.csv": b"",
        },
    )
    (pets / ".venv").mkdir()
    (pets / "__MACOSX/cat").mkdir(parents=True)
    assert [record.image_id for record in open_folder(pets).records] == before


def test_every_extension_in_any_case(tmp_path: Path, encode: Encode) -> None:
    image = Image.new("L", (4, 3), 200)
    kinds = dict.fromkeys(["jpg", "jpe", "jfif"], "JPEG") | {"tif": "TIFF"}
    kinds |= dict.fromkeys(["pgm", "pbm", "pnm"], "PPM")
    for extension in EXTENSIONS:
        content = encode(image, kinds.get(extension, extension.upper()))
        write(tmp_path, {f"a/lower.{extension}": content, f"b/UPPER.{extension.upper()}": content})
    dataset = open_folder(tmp_path)
    assert len(dataset.records) == 2 * len(EXTENSIONS)
    for index in range(len(dataset.records)):
        pixels = np.asarray(to_rgb(dataset.read(index)))
        np.testing.assert_allclose(pixels, np.full((3, 4, 3), 200), atol=2)


def test_the_first_images_are_of_all_classes(tmp_path: Path) -> None:
    """A folder is sorted by class; the accuracy of the first images must stand for all."""
    write(tmp_path, {f"class{k}/{n:03d}.png": b"" for k in range(10) for n in range(100)})
    labels = [record.label for record in open_folder(tmp_path).records]
    counts = np.bincount([label for label in labels[:200] if label is not None], minlength=10)
    assert counts.min() >= 8  # 20 expected; below 8 has a probability under 1 in 1,000


def test_ids_and_order_are_the_same_everywhere(pets: Path, memory: str) -> None:
    fsspec.filesystem("memory").put(f"{pets}/", "/bucket/data", recursive=True)
    local, remote = open_folder(pets), open_folder(memory)
    assert [(r.image_id, r.label) for r in local.records] == [
        (r.image_id, r.label) for r in remote.records
    ]
    ids = [record.image_id for record in local.records]
    assert ids == sorted(ids, key=spread)
    assert ids[:3] == ["cat/2.png", "dog/1.png", "dog/3.png"]  # pinned: draws depend on them


@pytest.mark.parametrize("form", ["file://{}", "{}/", "{}/../pets", "file://{}/"])
def test_other_ways_to_write_the_path(form: str, pets: Path) -> None:
    dataset = open_folder(form.format(pets))
    assert [r.image_id for r in dataset.records] == [r.image_id for r in open_folder(pets).records]
    assert dataset.read(0).size == (9, 7)


def test_a_relative_path_survives_another_working_directory(
    pets: Path, monkeypatch: pytest.MonkeyPatch, travel: Travel
) -> None:
    monkeypatch.chdir(pets.parent)
    dataset = FolderDataset("pets")
    monkeypatch.chdir("/")
    assert travel(dataset).read(0).size == (9, 7)


def test_a_remote_store(pets: Path, memory: str, picture: Picture) -> None:
    fsspec.filesystem("memory").put(f"{pets}/", "/bucket/data", recursive=True)
    dataset = open_folder(memory + "/")
    index = index_of(dataset, "dog/1.png")
    assert dataset.records[index].source == "memory://bucket/data/dog/1.png"
    np.testing.assert_array_equal(np.asarray(dataset.read(index)), np.asarray(picture(6)))


def test_links_are_followed_and_loops_are_not(pets: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "cat").symlink_to(pets / "cat")
    (linked / "dog").mkdir()
    (linked / "dog/0.png").symlink_to(pets / "dog/0.png")
    (linked / "dog/self").symlink_to(linked)
    dataset = open_folder(linked)
    ids = sorted(record.image_id for record in dataset.records)
    assert ids == [f"cat/{n}.png" for n in range(5)] + ["dog/0.png"]
    assert dataset.read(index_of(dataset, "dog/0.png")).size == (9, 7)


def test_pickles_metadata_only(pets: Path, travel: Travel) -> None:
    dataset = open_folder(pets)
    fresh = len(pickle.dumps(dataset))
    dataset.read(0)
    blob = pickle.dumps(dataset)
    assert len(blob) == fresh < 3000
    assert b"LocalFileSystem" not in blob
    np.testing.assert_array_equal(np.asarray(travel(dataset).read(3)), np.asarray(dataset.read(3)))


def test_reads_from_many_threads(pets: Path) -> None:
    dataset = open_folder(pets)
    alone = [np.asarray(dataset.read(index)) for index in range(10)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda index: np.asarray(dataset.read(index % 10)), range(200)))
    for index, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[index % 10])


def test_a_bad_image_fails_alone(pets: Path, picture: Picture, encode: Encode) -> None:
    jpeg = encode(picture(width=64, height=64), "JPEG")
    bad = {"cat/cut.jpg": jpeg[: len(jpeg) // 2], "cat/zero.png": b"", "cat/text.png": b"text"}
    dataset = open_folder(write(pets, bad))
    n_read = 0
    for index, record in enumerate(dataset.records):
        if record.image_id in bad:
            with pytest.raises(ImageError) as caught:
                dataset.read(index)
            assert str(caught.value).startswith(f"{record.source}: ")
        else:
            n_read += dataset.read(index).size == (9, 7)
    assert n_read == 10


def test_a_decompression_bomb_is_an_image_error(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ImageError, match="decompression bomb"):
        open_folder(pets).read(0)


def test_a_vanished_file_is_an_image_error(pets: Path) -> None:
    dataset = open_folder(pets)
    (pets / dataset.records[0].image_id).unlink()
    with pytest.raises(ImageError, match=r"cannot be read.*no such file"):
        dataset.read(0)
    assert dataset.read(1).size == (9, 7)


def test_a_broken_link_is_an_image_error(pets: Path) -> None:
    (pets / "cat/link.png").symlink_to(pets / "gone.png")
    dataset = open_folder(pets)
    with pytest.raises(ImageError, match="no such file"):
        dataset.read(index_of(dataset, "cat/link.png"))


def test_missing_permission_is_not_the_images_fault(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the refusal is played."""

    def refuse(self: LocalFileSystem, path: str, **_: object) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    dataset = open_folder(pets)
    monkeypatch.setattr(LocalFileSystem, "cat_file", refuse)
    with pytest.raises(StoreError, match=r"access is refused \(Permission denied\)"):
        dataset.read(0)


def test_an_unreadable_class_folder_is_not_left_out(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/dog"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"cannot read data\.path .*Permission denied"):
        open_folder(pets)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "does not exist"),
        ({"data": b"a file"}, "is a file"),
        ({"data/a.png": b"", "data/b.png": b""}, "holds 2 images but no class subfolders"),
        ({"data/notes.txt": b""}, "holds 1 files but no images in class subfolders"),
        ({"data/cat/notes.txt": b""}, "no images in class subfolders"),
        ({"data/cat/.a.png": b""}, "holds 0 files"),
        (
            {"data/a/1.png": b"", "data/b/1.heic": b"", "data/c/1.heic": b""},
            r"2 class folders without images \(b, c\)",
        ),
        (
            {"data/a/1.png": b"", "data/c/1.png": b"", "data/b/.gitkeep": b""},
            r"1 class folders without images \(b\)",
        ),
        (
            {"data/a/1.png": b"", "data/b/deep/.hidden/1.png": b""},
            r"1 class folders without images \(b\)",
        ),
    ],
)
@pytest.mark.parametrize("remote", [False, True])
def test_user_errors(
    files: dict[str, bytes], message: str, remote: bool, tmp_path: Path, memory: str
) -> None:
    if remote:
        fsspec.filesystem("memory").pipe({f"/bucket/{name}": c for name, c in files.items()})
    else:
        write(tmp_path, files)
    path = memory if remote else str(tmp_path / "data")
    if remote and message == "holds 0 files":
        message = "holds 0 files|does not exist"
    with pytest.raises(UserError, match=message) as caught:
        open_folder(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", ["empty", "a link to an empty one", "a link to nothing"])
def test_an_empty_class_folder_is_not_left_out(pets: Path, tmp_path: Path, way: str) -> None:
    """All classes behind it would be called by the name of the one before."""
    (tmp_path / "nothing").mkdir()
    if way == "empty":
        (pets / "crow").mkdir()
    else:
        (pets / "crow").symlink_to(tmp_path / ("nothing" if "empty" in way else "gone"))
    (pets / "preview.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"holds 1 class folders without images \(crow\)"):
        open_folder(pets)


def test_an_empty_class_folder_of_a_store_is_not_left_out(pets: Path, memory: str) -> None:
    fsspec.filesystem("memory").put(f"{pets}/", "/bucket/data", recursive=True)
    fsspec.filesystem("memory").mkdir("/bucket/data/crow")
    with pytest.raises(UserError, match=r"holds 1 class folders without images \(crow\)"):
        open_folder(memory)


@pytest.mark.parametrize("splits", [("train", "test"), ("Train", "Val", "Test"), ("training",)])
def test_splits_are_no_classes(tmp_path: Path, splits: tuple[str, ...]) -> None:
    """Each image would be classified as "a photo of a train." or "a photo of a test."."""
    write(tmp_path, {f"{split}/{name}/0.png": b"x" for split in splits for name in ("cat", "dog")})
    with pytest.raises(UserError, match="are splits and no classes"):
        open_folder(tmp_path)


def test_a_class_that_is_called_as_a_split(tmp_path: Path) -> None:
    write(tmp_path, {"train/0.png": b"x", "boat/0.png": b"x"})
    assert open_folder(tmp_path).label_names == ["boat", "train"]


@pytest.mark.parametrize("twins", [("caf\u00e9", "cafe\u0301"), ("cat", "cat ")])
def test_two_folders_that_read_as_one_name_are_refused(
    tmp_path: Path, twins: tuple[str, str]
) -> None:
    write(tmp_path, {f"{name}/0.png": b"x" for name in twins})
    with pytest.raises(UserError, match="which read as one name"):
        open_folder(tmp_path)


def test_pictures_that_are_not_read_are_said(pets: Path) -> None:
    write(pets, {"cat/7.heic": b"x", "dog/8.AVIF": b"x", "dog/notes.txt": b"x"})
    with pytest.warns(UserWarning, match=r"2 pictures are left out \(cat/7.heic, dog/8.AVIF\)"):
        assert len(open_folder(pets).records) == 10


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds 0 files"):
        open_folder(tmp_path)


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with open(os.fsencode(tmp_path) + b"/cat/\xff.png", "wb"):
        pass
    with pytest.raises(UserError, match="not UTF-8"):
        open_folder(tmp_path)


def test_cue_conflict_images(shared_data: Path) -> None:
    dataset = open_folder(shared_data / "cue-conflict" / "images")
    assert dataset.label_names is not None
    assert len(dataset.label_names) == 16
    assert len(dataset.records) == 160
    for index in range(0, 160, 20):
        record = dataset.records[index]
        assert record.label is not None
        assert record.image_id.startswith(dataset.label_names[record.label] + "/")
        image = dataset.read(index)
        assert image.size == (224, 224)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(record.source)))


def test_imagenet_files_in_class_folders(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "imagenet-samples").glob("*.JPEG"))
    for file in files:
        (tmp_path / file.name[:9]).mkdir(exist_ok=True)
        (tmp_path / file.name[:9] / file.name).symlink_to(file)
    dataset = open_folder(tmp_path)
    assert dataset.label_names == sorted({file.name[:9] for file in files})
    assert len(dataset.records) == len(files)
    for index, record in enumerate(dataset.records[:10]):
        expected = np.asarray(Image.open(record.source))
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), expected)
