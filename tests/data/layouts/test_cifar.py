"""CIFAR's batches, binary and pickled; what a pickle may ask for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from zsd_ray.data.base import ImageDataset
from zsd_ray.data.catalogue import spec_of
from zsd_ray.data.open import open_dataset
from zsd_ray.spec.data import DataConfig

N = 7
BATCHES = {"test": ["test_batch"], "train": [f"data_batch_{n}" for n in range(1, 6)]}


def made_up(seed: int, n_classes: int = 10) -> tuple[NDArray[np.uint8], list[int]]:
    """Images (N, 32, 32, 3) and their labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (N, 32, 32, 3), np.uint8), rng.integers(0, n_classes, N).tolist()


def planes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 3072): all red bytes of an image, then the green, then the blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_pickled(path: Path, images: NDArray[np.uint8], **labels: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"data": planes(images), **labels}, protocol=4))


def write_binary(path: Path, images: NDArray[np.uint8], *labels: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [np.array(column, np.uint8)[:, None] for column in labels]
    path.write_bytes(np.hstack([*columns, planes(images)]).tobytes())


def write_cifar10(folder: Path, binary: bool) -> None:
    for names in BATCHES.values():
        for name in names:
            images, labels = made_up(len(name) + ord(name[-1]))
            if binary:
                write_binary(folder / f"{name}.bin", images, labels)
            else:
                write_pickled(folder / name, images, labels=labels)


def expected(split: str) -> tuple[NDArray[np.uint8], list[int]]:
    batches = [made_up(len(name) + ord(name[-1])) for name in BATCHES[split]]
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), [label for column in labels for label in column]


def pixels(dataset: ImageDataset) -> NDArray[np.uint8]:
    return np.stack([np.asarray(dataset.read(index)) for index in range(len(dataset.records))])


@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize(
    ("folder", "binary", "layout"),
    [
        ("", False, "official"),
        ("", True, "official"),
        ("cifar-10-batches-bin", True, "official"),
        ("cifar-10-batches-py", False, "torchvision"),
    ],
)
def test_every_layout_gives_the_same(
    tmp_path: Path, folder: str, binary: bool, layout: str, split: str
) -> None:
    write_cifar10(tmp_path / folder, binary)
    images, labels = expected(split)
    for chosen in (None, layout):
        dataset = open_dataset(
            DataConfig.model_validate(
                {"source": "cifar10", "path": str(tmp_path), "split": split, "layout": chosen}
            )
        )
        np.testing.assert_array_equal(pixels(dataset), images)
        assert [record.label for record in dataset.records] == labels
        assert dataset.label_names == spec_of("cifar10").classes
        assert dataset.records[1].image_id == f"{split}/000001"
