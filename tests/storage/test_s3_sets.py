"""Data sets in arrays and tars on a real S3 server: read by byte ranges, and blamed for nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support.array_sets import WAYS
from tests.support.processes import SECONDS, wait_until
from tests.support.s3_server import S3
from tests.support.tars import write_tar
from zsd_ray.config.data import DataConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.location import Location
from zsd_ray.data.open import open_dataset
from zsd_ray.data.readers.webdataset_reader import WebDataset
from zsd_ray.records.errors import StoreError
from zsd_ray.storage.retry import waiting
from zsd_ray.storage.store import Store

BY_RANGE = (
    "cifar10-official-cifar10_binary-",
    "mnist-official-mnist-",
    "pcam-official-pcam_chunked-",
)
WHOLE = ("mnist-official-mnist_gz-", "svhn-official-svhn-")


def opened(store: S3, reach: Store, name: str, tmp_path: Path) -> ImageDataset:
    url = store.put_folder(WAYS[name].make(tmp_path / name), name)
    config = DataConfig.model_validate({"source": WAYS[name].source, "path": url})
    return open_dataset(config, reach)


@pytest.mark.parametrize("name", BY_RANGE + WHOLE)
def test_arrays(store: S3, name: str, tmp_path: Path, reach: Store) -> None:
    truth = WAYS[name].truth("test")
    dataset = opened(store, reach, name, tmp_path)
    assert [record.label for record in dataset.records] == truth.labels
    for index in (8, 0, 3):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), truth.images[index])


@pytest.fixture
def tars(store: S3, tmp_path: Path) -> str:
    """The URL of two tars of one sample each, with names."""
    for n in range(2):
        files = [("a.ppm", b"P6 1 1 255\n" + bytes([n, n, n])), ("a.cls", b"%d" % n)]
        write_tar(tmp_path / "tars" / f"part-{n:06}.tar", files)
    (tmp_path / "tars" / "classnames.txt").write_text("cat\ndog\n")
    return store.put_folder(tmp_path / "tars", "tars")


def test_tars(tars: str, reach: Store) -> None:
    for path in ("", "/part-*.tar", "/part-{000000..000001}.tar"):
        dataset = WebDataset(Location(f"{tars}{path}", reach), "label")
        assert [record.label for record in dataset.records] == [0, 1]
        assert dataset.label_names == ["cat", "dog"]
        assert dataset.records[1].source == f"{tars}/part-000001.tar:a.ppm"
        assert np.asarray(dataset.read(1)).tolist() == [[[1, 1, 1]]]


def test_a_store_that_goes_away_is_waited_for_and_no_image_is_blamed(
    store: S3, tars: str, tmp_path: Path, reach: Store
) -> None:
    sets = [
        WebDataset(Location(tars, reach), "label"),
        *(opened(store, reach, name, tmp_path) for name in BY_RANGE),
    ]
    before = [np.asarray(dataset.read(1)) for dataset in sets]
    store.stop()
    with reach.impatient(0.5):
        for dataset in sets:
            with pytest.raises(StoreError, match="did not answer"):
                dataset.read(1)
    after: list[np.ndarray] = []
    reader = threading.Thread(
        target=lambda: after.extend(np.asarray(dataset.read(1)) for dataset in sets)
    )
    reader.start()
    wait_until(waiting)
    store.start()
    reader.join(SECONDS)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
