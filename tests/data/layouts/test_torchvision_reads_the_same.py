"""The same small archives, read by torchvision's own classes: same images, same labels."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.layouts.fixtures import OFFICIAL, TORCHVISION
from zsd_ray.config.data import DataConfig
from zsd_ray.data.catalogue import spec_of
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.open import open_dataset

Pixels = NDArray[np.uint8]
Seen = dict[str, tuple[str, Pixels]]
"""Path of an image -> what the archive calls its class, and its RGB pixels."""


@pytest.fixture(scope="module")
def sets() -> ModuleType:
    from zsd_ray.models.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import torchvision.datasets

    return torchvision.datasets


def rgb(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


def theirs(dataset: Any, paths: Any, folder: Path, name_of: Callable[[int], str]) -> Seen:
    seen = {}
    for index, path in enumerate(paths):
        image, label = dataset[index]
        seen[os.path.relpath(path, folder)] = (name_of(label), rgb(image))
    assert len(seen) == len(dataset)
    return seen


def ours(dataset: ImageDataset, name: str) -> Seen:
    labels = spec_of(name).labels
    return {
        record.image_id: (labels[record.label or 0], rgb(dataset.read(index)))
        for index, record in enumerate(dataset.records)
    }


def dtd(sets: ModuleType, root: Path, split: str) -> Seen:
    their = sets.DTD(root, split=split)
    return theirs(their, their._image_files, root / "dtd/dtd/images", their.classes.__getitem__)


def eurosat(sets: ModuleType, root: Path, _: str) -> Seen:
    their = sets.EuroSAT(root)
    paths = [path for path, _ in their.samples]
    return theirs(their, paths, root / "eurosat/2750", their.classes.__getitem__)


def stanford_cars(sets: ModuleType, root: Path, split: str) -> Seen:
    their = sets.StanfordCars(root, split=split)
    paths = [path for path, _ in their._samples]
    return theirs(their, paths, root / "stanford_cars", spec_of("stanford-cars").labels.__getitem__)


def caltech101(sets: ModuleType, root: Path, _: str) -> Seen:
    # It leaves the background out, and counts the files of a class without looking at them.
    their = sets.Caltech101(root)
    folder = root / "caltech101/101_ObjectCategories"
    numbers = zip(their.y, their.index, strict=True)
    paths = [folder / their.categories[y] / f"image_{n:04d}.jpg" for y, n in numbers]
    return theirs(their, paths, folder, their.categories.__getitem__)


def oxford_pets(sets: ModuleType, root: Path, split: str) -> Seen:
    part = "trainval" if split == "train" else split
    their = sets.OxfordIIITPet(root, split=part)
    listed = (root / f"oxford-iiit-pet/annotations/{part}.txt").read_text().splitlines()
    names = {int(line.split()[1]) - 1: line.split()[0].rpartition("_")[0] for line in listed}
    return theirs(their, their._images, root / "oxford-iiit-pet/images", names.__getitem__)


def flowers102(sets: ModuleType, root: Path, split: str) -> Seen:
    class Unchecked(sets.Flowers102):  # type: ignore[name-defined,misc]
        def _check_integrity(self) -> bool:
            return True

    seen: Seen = {}
    for part in ("test",) if split == "test" else ("train", "val"):
        their = Unchecked(root, split=part)
        names = spec_of("flowers102").labels.__getitem__
        seen |= theirs(their, their._image_files, root / "flowers-102/jpg", names)
    return seen


def food101(sets: ModuleType, root: Path, split: str) -> Seen:
    their = sets.Food101(root, split=split)
    return theirs(their, their._image_files, root / "food-101/images", their.classes.__getitem__)


def fgvc_aircraft(sets: ModuleType, root: Path, split: str) -> Seen:
    their = sets.FGVCAircraft(root, split="trainval" if split == "train" else split)
    folder = root / "fgvc-aircraft-2013b/data/images"
    return theirs(their, their._image_files, folder, their.classes.__getitem__)


def imagenet(sets: ModuleType, root: Path, split: str) -> Seen:
    import torch

    torch.save(({path.name: ("a name",) for path in root.glob("*/n*")}, []), root / "meta.bin")
    part = "val" if split == "test" else split
    their = sets.ImageNet(root, split=part)
    paths = [path for path, _ in their.samples]
    return theirs(their, paths, root / part, their.wnids.__getitem__)


READ_BY_TORCHVISION: dict[str, Callable[[ModuleType, Path, str], Seen]] = {
    "dtd": dtd,
    "eurosat": eurosat,
    "stanford-cars": stanford_cars,
    "imagenet": imagenet,
    "caltech101": caltech101,
    "oxford-pets": oxford_pets,
    "flowers102": flowers102,
    "food101": food101,
    "fgvc-aircraft": fgvc_aircraft,
}


def assert_same(mine: Seen, their: Seen) -> None:
    assert {name: label for name, (label, _) in mine.items()} == {
        name: label for name, (label, _) in their.items()
    }
    for name, (_, pixels) in their.items():
        np.testing.assert_array_equal(mine[name][1], pixels)


@pytest.mark.parametrize("name", TORCHVISION)
def test_same_images_and_labels(name: str, sets: ModuleType, tmp_path: Path) -> None:
    folder, write = TORCHVISION[name]
    for split in write(tmp_path / folder):
        config = {"source": name, "path": str(tmp_path), "split": split}
        mine = ours(open_dataset(DataConfig.model_validate(config)), name)
        if name == "caltech101":
            mine = {k: v for k, v in mine.items() if not k.startswith("BACKGROUND_Google/")}
        assert mine
        assert_same(mine, READ_BY_TORCHVISION[name](sets, tmp_path, split))


@pytest.fixture
def torchvision_root(sets: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ImageNet's archives packed, as torchvision unpacks and sorts them itself."""
    OFFICIAL["imagenet"](tmp_path / "unpacked")
    root = tmp_path / "root"
    root.mkdir()
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as devkit:
        devkit.add(tmp_path / "unpacked/ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as archive:
        for path in (tmp_path / "unpacked/val").iterdir():
            archive.add(path, path.name)
    monkeypatch.setattr(sets.imagenet, "_verify_archive", lambda *_: None)
    return root


def test_imagenets_archives_as_torchvision_sorts_them(
    sets: ModuleType, torchvision_root: Path
) -> None:
    their = sets.ImageNet(torchvision_root, split="val")
    paths = [path for path, _ in their.samples]
    sorted_ = theirs(their, paths, torchvision_root / "val", their.wnids.__getitem__)
    for path in (torchvision_root.parent / "unpacked", torchvision_root):
        config = DataConfig(source="imagenet", path=str(path))
        assert_same(ours(open_dataset(config), "imagenet"), sorted_)
