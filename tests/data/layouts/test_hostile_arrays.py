"""Files of arrays that lie: about their size, their types, or where their numbers are."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from tests.support import array_sets
from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.layouts.array_pickle import load_arrays
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError

Write = Callable[[Path], Any]
PCAM_X, PCAM_Y = (f"camelyonpatch_level_2_split_test_{part}.h5" for part in "xy")
IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def opened(path: Path, source: str) -> ImageDataset:
    return open_dataset(DataConfig.model_validate({"source": source, "path": str(path)}))


def idx(*sizes: int) -> bytes:
    """The header of an idx file of bytes."""
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes)


def batch(data: Any, labels: Any) -> Write:
    content = pickle.dumps({"data": data, "labels": labels}, protocol=4)
    return lambda root: (root / "test_batch").write_bytes(content)


def hdf5(name: str, make: Callable[[Any], Any]) -> Write:
    def write(root: Path) -> None:
        with h5py.File(root / name, "w") as file:
            make(file)

    return write


def outside(root: Path) -> Path:
    """Somebody's file beside the data set, that no data set may show."""
    path = root.parent / "private.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.full((9, 96, 96, 3), 7, np.uint8)
    return path


def external_link(root: Path) -> None:
    path = outside(root)
    hdf5(PCAM_X, lambda file: file.__setitem__("x", h5py.ExternalLink(str(path), "/x")))(root)


def external_storage(root: Path) -> None:
    raw = root.parent / "private.bin"
    raw.write_bytes(bytes(9 * 96 * 96 * 3))
    place = [(str(raw), 0, 9 * 96 * 96 * 3)]
    hdf5(
        PCAM_X,
        lambda file: file.create_dataset("x", (9, 96, 96, 3), np.uint8, external=place),
    )(root)


def virtual(root: Path) -> None:
    layout = h5py.VirtualLayout((9, 96, 96, 3), np.uint8)
    layout[:] = h5py.VirtualSource(str(outside(root)), "x", (9, 96, 96, 3))
    hdf5(PCAM_X, lambda file: file.create_virtual_dataset("x", layout))(root)


def dataset_of(shape: tuple[int, ...], kind: Any = np.uint8, name: str = "x") -> Any:
    """A data set that claims so many numbers, of which none is there."""
    chunks = tuple(min(size, 64) for size in shape) or None
    return lambda file: file.create_dataset(name, shape, kind, chunks=chunks)


PIXELS = np.zeros((2, 3072), np.uint8)
LYING: dict[str, tuple[str, Write, Write, str]] = {
    "idx of a terabyte": (
        "mnist", array_sets.write_mnist,
        lambda root: (root / IMAGES).write_bytes(idx(2**20, 1024, 1024)),
        "where its header says 1099511627792",
    ),
    "idx of images without pixels": (
        "mnist", array_sets.write_mnist,
        lambda root: (root / IMAGES).write_bytes(idx(12, 0, 0)), r"images are of \[0, 0\] pixels",
    ),
    "idx of images without rows": (
        "mnist", array_sets.write_mnist,
        lambda root: (root / IMAGES).write_bytes(idx(12, 28) + bytes(12 * 28)),
        r"images are of \[28\] pixels",
    ),
    "idx.gz of a terabyte": (
        "mnist", array_sets.write_mnist_gz,
        lambda root: (root / f"{IMAGES}.gz").write_bytes(gzip.compress(idx(2**20, 1024, 1024))),
        "its header says 1099511627792 bytes",
    ),
    "idx.gz that goes on for 40 megabytes": (
        "mnist", array_sets.write_mnist_gz,
        lambda root: (root / f"{LABELS}.gz").write_bytes(
            gzip.compress(idx(12) + bytes(40 * 2**20), 1)
        ),
        "it has 21 bytes where its header says 20",
    ),
    "a batch whose labels are no whole numbers": (
        "cifar10", array_sets.write_cifar10_pickles, batch(PIXELS, [0, 1.5]), "the label 1.5",
    ),
    "a batch whose labels are text": (
        "cifar10", array_sets.write_cifar10_pickles, batch(PIXELS, ["1", "2"]), "the label '1'",
    ),
    "a batch whose labels are lists": (
        "cifar10", array_sets.write_cifar10_pickles, batch(PIXELS, [[1], [2]]), r"label \[1\]",
    ),
    "a batch whose labels are null": (
        "cifar10", array_sets.write_cifar10_pickles, batch(PIXELS, None), "labels are no list",
    ),
    "a batch whose labels are 2**70": (
        "cifar10", array_sets.write_cifar10_pickles, batch(PIXELS, [0, 2**70]), "holds label 118",
    ),
    "a batch of rows, columns, colours": (
        "cifar10", array_sets.write_cifar10_pickles,
        batch(np.zeros((2, 32, 32, 3), np.uint8), [0, 1]), r"have the shape \(2, 32, 32, 3\)",
    ),
    "a batch whose images are a list": (
        "cifar10", array_sets.write_cifar10_pickles, batch([[0] * 3072] * 2, [0, 1]), "are a list",
    ),
    "a batch whose images are objects": (
        "cifar10", array_sets.write_cifar10_pickles,
        batch(np.array([None, 1], object), [0, 1]), "has the type 'O8'",
    ),
    "an external link": ("pcam", array_sets.write_pcam, external_link, "its x is a link"),
    "a soft link": (
        "pcam", array_sets.write_pcam,
        hdf5(PCAM_X, lambda file: (
            file.__setitem__("z", PIXELS), file.__setitem__("x", h5py.SoftLink("/z"))
        )),
        "its x is a link",
    ),
    "external storage": (
        "pcam", array_sets.write_pcam, external_storage, "its x lies in other files",
    ),
    "a virtual data set": ("pcam", array_sets.write_pcam, virtual, "its x lies in other files"),
    "a group": (
        "pcam", array_sets.write_pcam, hdf5(PCAM_X, lambda file: file.create_group("x")),
        "its x is no array",
    ),
    "an empty data set": (
        "pcam", array_sets.write_pcam,
        hdf5(PCAM_X, lambda file: file.create_dataset("x", data=h5py.Empty("u1"))),
        "its x is no array",
    ),
    "HDF5 images of a gigapixel": (
        "pcam", array_sets.write_pcam, hdf5(PCAM_X, dataset_of((9, 32768, 32768, 3))),
        "with up to 4096 rows and columns",
    ),
    "2**40 HDF5 labels": (
        "pcam", array_sets.write_pcam, hdf5(PCAM_Y, dataset_of((2**40,), name="y")),
        "not a number for each image",
    ),
    "HDF5 labels that are text": (
        "pcam", array_sets.write_pcam,
        hdf5(PCAM_Y, lambda file: file.create_dataset("y", data=[b"a"] * 9)),
        "not a number for each image",
    ),
    "HDF5 labels that are NaN": (
        "pcam", array_sets.write_pcam,
        hdf5(PCAM_Y, lambda file: file.create_dataset("y", data=[float("nan")] * 9)),
        "the label nan",
    ),
    "digits that are none": (
        "svhn", array_sets.write_svhn,
        lambda root: savemat(root / "test_32x32.mat", {"y": np.full((13, 1), 255)}),
        "a digit that is none of 0 to 10",
    ),
    "digits with a fraction": (
        "svhn", array_sets.write_svhn,
        lambda root: savemat(root / "test_32x32.mat", {"y": np.full((13, 1), 1.5)}),
        "the label 1.5",
    ),
    "no digits": (
        "svhn", array_sets.write_svhn,
        lambda root: savemat(root / "test_32x32.mat", {"y": np.zeros((0, 1))}), "there are none",
    ),
}  # fmt: skip


@pytest.mark.few(4)
@pytest.mark.parametrize("name", LYING)
def test_what_lies_is_refused_and_takes_no_memory(name: str, tmp_path: Path) -> None:
    source, write, lie, message = LYING[name]
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    lie(tmp_path / "set")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message) as caught:
            opened(tmp_path / "set", source)
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"}r\xff\xff\xff\x7f.",  # LONG_BINPUT: C's unpickler makes a table of so many places
        b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR}b.",  # a state that is no tuple
        b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR.",
        b"cnumpy\ndtype\n}b.",  # another state of the class itself
        b"cnumpy.core.multiarray\n_reconstruct\nU\x01a}b.",
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01(K\x05tU\x05bytesU\x05bytes\x88U\x05bytestb.",
        b"]q\x00h\x00a.",  # a list that holds itself
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # text of 2**63 bytes
        b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a frame of so many
        b"\x82\x01.",  # an extension
        b"Pan id\n.",
    ],
)
def test_no_opcode_does_more_than_make_arrays(opcodes: bytes) -> None:
    tracemalloc.start()
    try:
        found = load_arrays(io.BytesIO(b"\x80\x04" + opcodes))
        assert found == {}
    except (pickle.UnpicklingError, ValueError, TypeError, LookupError, OverflowError, MemoryError):
        pass  # as Location.user_errors says of any error
    except EOFError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.few(4)
@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("kind", ["u1", "<i8", ">f4", "?"])
def test_arrays_come_as_they_were(protocol: int, kind: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(kind)
    for each in (array, np.asfortranarray(array), array[:0]):
        found = load_arrays(io.BytesIO(pickle.dumps({"a": each, "b": [1]}, protocol)))
        np.testing.assert_array_equal(found["a"], each)
        assert found["a"].dtype == each.dtype
        assert found["b"] == [1]
