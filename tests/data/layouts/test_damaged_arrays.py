"""Files of arrays that are cut, mixed up, hostile or something else: refused, and said why."""

from __future__ import annotations

import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import array_sets
from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.layouts.array_pickle import load_arrays
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import ImageError, UserError


def opened(path: Path, source: str, **keys: Any) -> ImageDataset:
    return open_dataset(DataConfig.model_validate({"source": source, "path": str(path), **keys}))


def cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-n_bytes])


class _Runs:
    """Makes a pickle that calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "asked"),
    [(os.mkdir, f"{os.mkdir.__module__}.mkdir"), (eval, "builtins?.eval|__builtin__.eval")],
)
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(
    tmp_path: Path, function: Callable[..., Any], asked: str, protocol: int
) -> None:
    made = tmp_path / "made"
    argument = str(made) if function is os.mkdir else f"__import__('os').mkdir({str(made)!r})"
    folder = tmp_path / "set"
    folder.mkdir()
    batch = {"data": _Runs(function, argument), "labels": [0]}
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=protocol))
    with pytest.raises(UserError, match=rf"test_batch: .*asks for ({asked}).*not safe"):
        opened(folder, "cifar10")
    assert not made.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("numpy", "load"), ("numpy", "ctypeslib"), ("builtins", "getattr"), ("numpy.ma", "dtype")],
)
def test_only_what_makes_an_array_may_be_asked_for(module: str, name: str) -> None:
    import io

    with pytest.raises(pickle.UnpicklingError, match=rf"asks for {module}\.{name}"):
        load_arrays(io.BytesIO(f"c{module}\n{name}\n.".encode()))


def python2_array(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """The opcodes by which numpy's pickles of Python 2 make an array: texts are byte strings."""
    n, width = array.shape
    data = array.tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        + b"(K\x01"
        + b"J" + struct.pack("<i", n) + b"J" + struct.pack("<i", width) + b"\x86"
        + b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89T" + struct.pack("<i", len(data)) + data + b"tb"
    )  # fmt: skip


def test_a_batch_that_python_2_has_pickled_is_read(tmp_path: Path) -> None:
    """As the publisher's are."""
    expected = array_sets.truth("test", 3, (32, 32, 3), 10)
    labels = b"".join(b"K" + bytes([label]) for label in expected.labels)
    batch = b"\x80\x02}(U\x06labels](" + labels + b"eU\x04data"
    (tmp_path / "test_batch").write_bytes(
        batch + python2_array(array_sets.planes(expected.images)) + b"u."
    )
    dataset = opened(tmp_path, "cifar10")
    assert [record.label for record in dataset.records] == expected.labels
    for index, image in enumerate(expected.images):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), image)


def test_keys_may_be_bytes(tmp_path: Path) -> None:
    """A program that read the publisher's with encoding="bytes" saves them so."""
    images = array_sets.cifar10("test").images
    batch = {b"data": array_sets.planes(images), b"labels": array_sets.cifar10("test").labels}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=4))
    assert len(opened(tmp_path, "cifar10").records) == len(images)


Damage = Callable[[Path], Any]
DAMAGED: dict[str, tuple[str, Damage, Damage, str]] = {
    "binary batch cut": (
        "cifar10",
        array_sets.write_cifar10_binary,
        lambda root: cut(root / "test_batch.bin", 1),
        r"test_batch.bin: its \d+ bytes are no whole images of 3073",
    ),
    "binary batch empty": (
        "cifar10",
        array_sets.write_cifar10_binary,
        lambda root: (root / "test_batch.bin").write_bytes(b""),
        r"test_batch.bin: its 0 bytes",
    ),
    "pickle cut": (
        "cifar10",
        array_sets.write_cifar10_pickles,
        lambda root: cut(root / "test_batch", 100),
        r"cannot read \S+/test_batch: ",
    ),
    "pickle of CIFAR-100 for CIFAR-10": (
        "cifar10",
        array_sets.write_cifar100_pickles,
        lambda root: (root / "test").rename(root / "test_batch"),
        r"test_batch: the pickle is no batch of CIFAR: it has no 'labels'",
    ),
    "pickle of something else": (
        "cifar10",
        array_sets.write_cifar10_pickles,
        lambda root: (root / "test_batch").write_bytes(pickle.dumps([1, 2])),
        r"the pickle holds no mapping, but a list",
    ),
    "pickle of scaled images": (
        "cifar10",
        array_sets.write_cifar10_pickles,
        lambda root: (root / "test_batch").write_bytes(
            pickle.dumps({"data": np.zeros((2, 3072)), "labels": [0, 1]})
        ),
        r"test_batch: its data are float64, not bytes",
    ),
    "CIFAR-100's binary labels out of range": (
        "cifar100",
        array_sets.write_cifar100_binary,
        lambda root: (root / "test.bin").write_bytes(bytes([3, 100]) + bytes(3072)),
        r"test.bin holds label 100; 100 classes count from 0",
    ),
    "STL-10 images cut": (
        "stl10",
        array_sets.write_stl10,
        lambda root: cut(root / "test_X.bin", 2),
        r"test_X.bin: \d+ bytes stand behind its last whole image",
    ),
    "STL-10 with too few labels": (
        "stl10",
        array_sets.write_stl10,
        lambda root: cut(root / "test_y.bin", 2),
        r"test_X.bin: it holds 10 images for 8 labels",
    ),
    "STL-10 without labels": (
        "stl10",
        array_sets.write_stl10,
        lambda root: (root / "test_y.bin").unlink(),
        r"cannot read \S+/test_y.bin",
    ),
    "STL-10 with a label 0": (
        "stl10",
        array_sets.write_stl10,
        lambda root: (root / "test_y.bin").write_bytes(bytes(10)),
        r"holds label -1",
    ),
    "idx cut": (
        "mnist",
        array_sets.write_mnist,
        lambda root: cut(root / "t10k-images-idx3-ubyte", 5),
        r"t10k-images-idx3-ubyte: it has \d+ bytes where its header says \d+",
    ),
    "idx labels cut": (
        "mnist",
        array_sets.write_mnist,
        lambda root: cut(root / "t10k-labels-idx1-ubyte", 1),
        r"t10k-labels-idx1-ubyte: it has \d+ bytes where its header says \d+",
    ),
    "no idx": (
        "mnist",
        array_sets.write_mnist,
        lambda root: (root / "t10k-images-idx3-ubyte").write_bytes(b"<html>"),
        r"it begins with 3c 68 74 6d, but an idx file",
    ),
    "idx.gz cut": (
        "mnist",
        array_sets.write_mnist_gz,
        lambda root: cut(root / "t10k-images-idx3-ubyte.gz", 9),
        r"cannot read \S+t10k-images-idx3-ubyte.gz",
    ),
    "labels of the other split": (
        "mnist",
        array_sets.write_mnist,
        lambda root: (root / "train-labels-idx1-ubyte").replace(root / "t10k-labels-idx1-ubyte"),
        r"t10k-images-idx3-ubyte: it holds 12 images for 10 labels",
    ),
    "no MATLAB file": (
        "svhn",
        array_sets.write_svhn,
        lambda root: (root / "test_32x32.mat").write_bytes(b"nothing of the kind" * 20),
        r"cannot read \S+test_32x32.mat",
    ),
    "MATLAB file of something else": (
        "svhn",
        array_sets.write_svhn,
        lambda root: _save_mat(root / "test_32x32.mat"),
        r"test_32x32.mat: it has no X of \(rows, columns, 3, images\)",
    ),
    "no HDF5": (
        "pcam",
        array_sets.write_pcam,
        lambda root: (root / "camelyonpatch_level_2_split_test_x.h5").write_bytes(b"no" * 999),
        r"cannot read \S+test_x.h5",
    ),
    "HDF5 of something else": (
        "pcam",
        array_sets.write_pcam,
        lambda root: (root / "camelyonpatch_level_2_split_test_y.h5").replace(
            root / "camelyonpatch_level_2_split_test_x.h5"
        ),
        r"cannot read \S+test_y.h5",
    ),
    "labels for images": (
        "pcam",
        array_sets.write_pcam,
        lambda root: (root / "camelyonpatch_level_2_split_test_x.h5").write_bytes(
            (root / "camelyonpatch_level_2_split_test_y.h5").read_bytes()
        ),
        r"test_x.h5: it has no data set 'x', but y",
    ),
    "still compressed": (
        "pcam",
        array_sets.write_pcam,
        lambda root: [path.rename(f"{path}.gz") for path in root.glob("*.h5")],
        r"test_x.h5.gz, of which no single image can be read; run gunzip",
    ),
}


def _save_mat(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"y": np.ones((3, 1)), "Z": np.zeros((2, 2))})


@pytest.mark.few(4)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_set_is_refused_before_anything_starts(name: str, tmp_path: Path) -> None:
    source, write, damage, message = DAMAGED[name]
    write(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError) as caught:
        opened(tmp_path, source)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    array_sets.write_cifar10_pickles(tmp_path)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(UserError, match="data_batch_3"):
        opened(tmp_path, "cifar10", split="train")


@pytest.mark.parametrize(
    ("source", "write", "file"),
    [
        ("cifar10", array_sets.write_cifar10_binary, "test_batch.bin"),
        ("stl10", array_sets.write_stl10, "test_X.bin"),
        ("mnist", array_sets.write_mnist, "t10k-images-idx3-ubyte"),
        ("pcam", array_sets.write_pcam, "camelyonpatch_level_2_split_test_x.h5"),
    ],
)
def test_a_file_that_is_cut_after_the_listing_costs_the_images_behind(
    tmp_path: Path, source: str, write: Callable[[Path], None], file: str
) -> None:
    write(tmp_path)
    dataset = opened(tmp_path, source)
    first = np.asarray(dataset.read(0))
    cut(tmp_path / file, 100)
    with pytest.raises(ImageError, match=re.escape(file)):
        dataset.read(len(dataset.records) - 1)
    if source != "pcam":  # HDF5 knows its own length, and refuses the whole file
        np.testing.assert_array_equal(np.asarray(dataset.read(0)), first)
