"""Sets whose images lie in arrays: every way of lying gives the same images and labels."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.array_sets import WAYS, Lying
from zsd_ray.config.data import DataConfig
from zsd_ray.data.catalogue import spec_of
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.models.torchvision_ops import declare_missing_operators


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Lying:
    return WAYS[request.param]


def opened(path: Path | str, source: str, **keys: Any) -> ImageDataset:
    return open_dataset(DataConfig.model_validate({"source": source, "path": str(path), **keys}))


def pixels(dataset: ImageDataset) -> NDArray[np.uint8]:
    return np.stack([np.asarray(dataset.read(index)) for index in range(len(dataset.records))])


@pytest.mark.few(2)
@pytest.mark.parametrize("split", ["test", "train"])
def test_images_and_labels_are_those_that_were_written(
    way: Lying, split: str, tmp_path: Path
) -> None:
    expected = way.truth(split)
    way.make(tmp_path)
    for layout in (None, way.layout):
        dataset = opened(tmp_path, way.source, split=split, layout=layout)
        np.testing.assert_array_equal(pixels(dataset), expected.images)
        assert [record.label for record in dataset.records] == expected.labels
        assert dataset.label_names == spec_of(way.source).classes
        assert dataset.records[1].image_id == f"{split}/000001"


@pytest.mark.few(4)
def test_the_same_from_a_store(way: Lying, tmp_path: Path, memory: str) -> None:
    fsspec.filesystem("memory").put(f"{way.make(tmp_path)}/", "/bucket/data", recursive=True)
    dataset = opened(memory, way.source)
    np.testing.assert_array_equal(pixels(dataset), way.truth("test").images)
    assert [record.label for record in dataset.records] == way.truth("test").labels


@pytest.mark.few(4)
def test_a_set_is_small_when_it_travels(
    way: Lying, tmp_path: Path, travel: Callable[[ImageDataset], ImageDataset]
) -> None:
    dataset = opened(way.make(tmp_path), way.source)
    before = pixels(dataset)
    beside_records = len(pickle.dumps(dataset)) - len(pickle.dumps(dataset.records))
    assert beside_records < 2_500 < before.nbytes
    np.testing.assert_array_equal(pixels(travel(dataset)), before)


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision.datasets, which takes files with other checksums than the publishers'."""
    declare_missing_operators()
    from torchvision import datasets
    from torchvision.datasets import cifar, mnist, stl10, svhn

    for module in (cifar, mnist, stl10, svhn):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).exists())
    return datasets


THEIRS: dict[str, Callable[[Any, str, str], Any]] = {
    "cifar10": lambda tv, root, split: tv.CIFAR10(root, train=split == "train"),
    "cifar100": lambda tv, root, split: tv.CIFAR100(root, train=split == "train"),
    "stl10": lambda tv, root, split: tv.STL10(root, split),
    "mnist": lambda tv, root, split: tv.MNIST(root, train=split == "train"),
    "svhn": lambda tv, root, split: tv.SVHN(root, split),
    "pcam": lambda tv, root, split: tv.PCAM(root, split),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize("name", [name for name in WAYS if "-torchvision-" in name])
def test_torchvision_reads_the_same(
    name: str, split: str, tmp_path: Path, torchvision: Any
) -> None:
    way = WAYS[name]
    ours = opened(way.make(tmp_path), way.source, split=split, layout="torchvision")
    theirs = THEIRS[way.source](torchvision, str(tmp_path), split)
    assert len(ours.records) == len(theirs)
    for index, record in enumerate(ours.records):
        image, label = theirs[index]
        assert record.label == label
        np.testing.assert_array_equal(np.asarray(ours.read(index)), np.asarray(image))
