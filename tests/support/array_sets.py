"""Tiny data sets in the files that their publishers give out, and what is in them.

Each `write_*` makes both splits below a folder that lies as an unpacked archive does.
"""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
CIFAR10_BATCHES = {"test": ["test_batch"], "train": [f"data_batch_{n}" for n in range(1, 6)]}
CIFAR100_BATCHES = {"test": ["test"], "train": ["train"]}


@dataclass(frozen=True)
class Truth:
    """images: (N, H, W) or (N, H, W, 3); labels: as classes are counted, from 0."""

    images: Bytes
    labels: list[int]


def truth(split: str, n: int, shape: tuple[int, ...], n_classes: int) -> Truth:
    """Noise, so that no two bytes are mistaken; every class up to n is there."""
    rng = np.random.default_rng([len(split), *shape])
    labels = rng.permutation(np.arange(n) % n_classes)
    return Truth(rng.integers(0, 256, (n, *shape), np.uint8), labels.tolist())


def planes(images: Bytes) -> Bytes:
    """(N, C * H * W): all red bytes of an image, then the green, then the blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def _batched(truth: Truth, names: Sequence[str]) -> list[tuple[str, Bytes, list[int]]]:
    size = len(truth.labels) // len(names)
    parts = [slice(n * size, (n + 1) * size) for n in range(len(names))]
    return [
        (name, truth.images[part], truth.labels[part])
        for name, part in zip(names, parts, strict=True)
    ]


def cifar10(split: str) -> Truth:
    return truth(split, {"test": 11, "train": 15}[split], (32, 32, 3), 10)


def cifar100(split: str) -> Truth:
    return truth(split, {"test": 101, "train": 100}[split], (32, 32, 3), 100)


def write_cifar10_pickles(folder: Path) -> None:
    for split, names in CIFAR10_BATCHES.items():
        for name, images, labels in _batched(cifar10(split), names):
            batch = {"data": planes(images), "labels": labels, "batch_label": name}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=4))
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))


def write_cifar10_binary(folder: Path) -> None:
    for split, names in CIFAR10_BATCHES.items():
        for name, images, labels in _batched(cifar10(split), names):
            rows = np.hstack([np.array(labels, np.uint8)[:, None], planes(images)])
            (folder / f"{name}.bin").write_bytes(rows.tobytes())


def write_cifar100_pickles(folder: Path) -> None:
    for split in ("test", "train"):
        of = cifar100(split)
        coarse = [19 - label % 20 for label in of.labels]
        batch = {"data": planes(of.images), "coarse_labels": coarse, "fine_labels": of.labels}
        (folder / split).write_bytes(pickle.dumps(batch, protocol=4))
    names = {"fine_label_names": [f"name {n}" for n in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names))


def write_cifar100_binary(folder: Path) -> None:
    for split in ("test", "train"):
        of = cifar100(split)
        columns = np.array([[19 - label % 20, label] for label in of.labels], np.uint8)
        (folder / f"{split}.bin").write_bytes(np.hstack([columns, planes(of.images)]).tobytes())


def stl10(split: str) -> Truth:
    return truth(split, {"test": 10, "train": 4}[split], (96, 96, 3), 10)


def write_stl10(folder: Path) -> None:
    for split in ("test", "train"):
        of = stl10(split)
        columns_first = of.images.transpose(0, 3, 2, 1)  # plane, column, row
        (folder / f"{split}_X.bin").write_bytes(columns_first.tobytes())
        (folder / f"{split}_y.bin").write_bytes((np.array(of.labels, np.uint8) + 1).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(b"")
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\n")


def mnist(split: str) -> Truth:
    return truth(split, {"test": 12, "train": 10}[split], (28, 28), 10)


def idx(array: Bytes) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write_mnist(folder: Path, suffix: str = "") -> None:
    for split, stem in (("test", "t10k"), ("train", "train")):
        of = mnist(split)
        for name, array in (
            ("images-idx3", of.images),
            ("labels-idx1", np.array(of.labels, np.uint8)),
        ):
            data = idx(array)
            path = folder / f"{stem}-{name}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data, 1) if suffix else data)


def write_mnist_gz(folder: Path) -> None:
    write_mnist(folder, ".gz")


def svhn(split: str) -> Truth:
    return truth(split, {"test": 13, "train": 10}[split], (32, 32, 3), 10)


def write_svhn(folder: Path) -> None:
    from scipy.io import savemat

    for split in ("test", "train"):
        of = svhn(split)
        digits = np.array([label or 10 for label in of.labels], np.uint8)[:, None]
        arrays = {"X": of.images.transpose(1, 2, 3, 0), "y": digits}
        savemat(folder / f"{split}_32x32.mat", arrays, do_compression=True)


def pcam(split: str) -> Truth:
    return truth(split, {"test": 9, "train": 5}[split], (96, 96, 3), 2)


def write_pcam(folder: Path, **storage: Any) -> None:
    import h5py

    for split in ("test", "train"):
        of = pcam(split)
        stem = folder / f"camelyonpatch_level_2_split_{split}"
        with h5py.File(f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=of.images, **storage)
        with h5py.File(f"{stem}_y.h5", "w") as file:
            file.create_dataset("y", data=np.array(of.labels, np.uint8).reshape(-1, 1, 1, 1))


def write_pcam_chunked(folder: Path) -> None:
    write_pcam(folder, chunks=(2, 48, 48, 3), compression="gzip")


@dataclass(frozen=True)
class Lying:
    """One way in which a set lies: its files, in `folder` below data.path."""

    source: str
    layout: str
    folder: str
    truth: Callable[[str], Truth]
    write: Callable[[Path], None]

    def make(self, root: Path) -> Path:
        (root / self.folder).mkdir(parents=True, exist_ok=True)
        self.write(root / self.folder)
        return root


WAYS = {
    f"{each.source}-{each.layout}-{each.write.__name__.removeprefix('write_')}-{each.folder}": each
    for each in (
        Lying("cifar10", "official", "", cifar10, write_cifar10_pickles),
        Lying("cifar10", "official", "", cifar10, write_cifar10_binary),
        Lying("cifar10", "official", "cifar-10-batches-bin", cifar10, write_cifar10_binary),
        Lying("cifar10", "torchvision", "cifar-10-batches-py", cifar10, write_cifar10_pickles),
        Lying("cifar100", "official", "", cifar100, write_cifar100_pickles),
        Lying("cifar100", "official", "", cifar100, write_cifar100_binary),
        Lying("cifar100", "torchvision", "cifar-100-python", cifar100, write_cifar100_pickles),
        Lying("stl10", "official", "", stl10, write_stl10),
        Lying("stl10", "torchvision", "stl10_binary", stl10, write_stl10),
        Lying("mnist", "official", "", mnist, write_mnist),
        Lying("mnist", "official", "", mnist, write_mnist_gz),
        Lying("mnist", "torchvision", "MNIST/raw", mnist, write_mnist),
        Lying("svhn", "official", "", svhn, write_svhn),
        Lying("svhn", "torchvision", "", svhn, write_svhn),
        Lying("pcam", "official", "", pcam, write_pcam),
        Lying("pcam", "official", "", pcam, write_pcam_chunked),
        Lying("pcam", "torchvision", "pcam", pcam, write_pcam),
    )
}
