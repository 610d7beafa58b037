"""Named sets as the hub keeps them, in Parquet files and tars: labels become the spec's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.tars import write_tar
from zsd_ray.config.data import DataConfig
from zsd_ray.data.catalogue import spec_of
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError

CIFAR10 = list(spec_of("cifar10").classes)


@pytest.fixture
def png(
    picture: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> Callable[[int], bytes]:
    return lambda seed: encode(picture(seed))


def opened(path: Path | str, source: str, **keys: Any) -> ImageDataset:
    return open_dataset(DataConfig.model_validate({"source": source, "path": str(path), **keys}))


def labels(dataset: ImageDataset) -> list[int | None]:
    return [record.label for record in dataset.records]


def write(
    path: Path,
    images: Sequence[bytes],
    image_column: str,
    columns: dict[str, Any],
    class_label: dict[str, list[str]] | None = None,
) -> None:
    """A Parquet file, with the names of ClassLabel columns where the hub writes them."""
    encoded = pa.array([{"bytes": image, "path": None} for image in images])
    table = pa.table({image_column: encoded, **columns})
    if class_label:
        features = {name: {"names": names} for name, names in class_label.items()}
        said = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": said})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


HUB: dict[str, tuple[str, str, str, int]] = {
    # source: the file of the test split, image column, label column, number of classes
    "cifar10": ("plain_text/test-00000-of-00001.parquet", "img", "label", 10),
    "cifar100": ("cifar100/test-00000-of-00001.parquet", "img", "fine_label", 100),
    "mnist": ("mnist/test-00000-of-00001.parquet", "image", "label", 10),
    "stl10": ("data/test-00000-of-00001.parquet", "image", "label", 10),
    "svhn": ("cropped_digits/test-00000-of-00001.parquet", "image", "label", 10),
    "pcam": ("data/test-00000-of-00002-3bfa172e8818685a.parquet", "image", "label", 2),
}


@pytest.mark.parametrize("source", HUB)
def test_the_hubs_repositories(
    source: str,
    tmp_path: Path,
    png: Callable[[int], bytes],
    picture: Callable[..., Image.Image],
    memory: str,
) -> None:
    file, image_column, label_column, n_classes = HUB[source]
    last = n_classes - 1
    columns: dict[str, Any] = {label_column: [bool(v) for v in (1, 0, 1)]}
    if source != "pcam":  # whose labels are bools there
        columns = {"coarse_label": [0, 0, 0], label_column: [last, 0, 3]}
    write(tmp_path / file, [png(n) for n in range(3)], image_column, columns)
    train = tmp_path / file.replace("test-", "train-")
    write(train, [png(9)], image_column, {name: values[:1] for name, values in columns.items()})
    if source == "svhn":
        write(tmp_path / "full_numbers" / "test-0.parquet", [png(8)], "image", {"digits": [[1]]})
    fsspec.filesystem("memory").put(f"{tmp_path}/", "/bucket/data", recursive=True)
    for path in (tmp_path, memory):
        dataset = opened(path, source)
        expected = [1, 0, 1] if source == "pcam" else [last, 0, 3]
        assert labels(dataset) == expected
        assert dataset.label_names == spec_of(source).classes
        np.testing.assert_array_equal(np.asarray(dataset.read(1)), np.asarray(picture(1)))
        assert labels(opened(path, source, split="train", layout="parquet")) == expected[:1]
        assert labels(opened(path, source, label_column=None)) == [None] * 3


def test_names_in_the_schema_decide(tmp_path: Path, png: Callable[[int], bytes]) -> None:
    turned = [name.title() for name in CIFAR10[::-1]]
    columns = {"label": [0, 9, 2]}
    write(tmp_path / "test.parquet", [png(n) for n in range(3)], "img", columns, {"label": turned})
    assert labels(opened(tmp_path, "cifar10")) == [9, 0, 7]


def test_as_many_names_that_are_all_others_count_in_their_order(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    others = {"label": [f"other {n}" for n in range(10)]}
    write(tmp_path / "test.parquet", [png(0), png(1)], "img", {"label": [3, 8]}, others)
    assert labels(opened(tmp_path, "cifar10")) == [3, 8]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*CIFAR10[1:], "zebra"], r"names 10 labels, of which 1 are none of the 10 .*\(zebra\)"),
        (["yes", "no"], r"names 2 labels, of which 2 are none of the 10 classes of CIFAR-10"),
    ],
)
def test_other_classes_are_refused(
    tmp_path: Path, png: Callable[[int], bytes], names: list[str], message: str
) -> None:
    write(tmp_path / "test.parquet", [png(0)], "img", {"label": [0]}, {"label": names})
    with pytest.raises(UserError, match=message):
        opened(tmp_path, "cifar10")


def test_a_column_of_text_is_matched_by_name_and_never_by_order(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    images = [png(n) for n in range(3)]
    names = ["sweet_pepper", "Apple", "pickup-truck"]
    write(tmp_path / "test.parquet", images, "img", {"fine_label": names})
    number_of = spec_of("cifar100").classes.index
    expected = [number_of(name) for name in ("sweet pepper", "apple", "pickup truck")]
    assert labels(opened(tmp_path, "cifar100")) == expected
    write(tmp_path / "test.parquet", images[:2], "image", {"label": ["no", "yes"]})
    with pytest.raises(UserError, match="of which 2 are none of the 2 classes of PatchCamelyon"):
        opened(tmp_path, "pcam")


def test_a_number_beyond_the_classes_is_refused(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    write(tmp_path / "test.parquet", [png(0)], "img", {"label": [10]})
    with pytest.raises(UserError, match="holds label 10; CIFAR-10 has 10 classes"):
        opened(tmp_path, "cifar10")


def test_the_users_columns_come_first(tmp_path: Path, png: Callable[[int], bytes]) -> None:
    columns = {"img": [b"nothing", b"nothing"], "label": [1, 1], "truth": [4, 5]}
    write(tmp_path / "test.parquet", [png(n) for n in range(2)], "picture", columns)
    dataset = opened(tmp_path, "cifar10", image_column="picture", label_column="truth")
    assert labels(dataset) == [4, 5]
    assert dataset.read(0).size == (9, 7)
    with pytest.raises(UserError, match=r"image_column 'none' is no column of test\.parquet"):
        opened(tmp_path / "test.parquet", "mnist", image_column="none")


@pytest.mark.parametrize("names", [None, CIFAR10[::-1], [f"other {n}" for n in range(10)]])
def test_tars_of_a_named_set(
    tmp_path: Path, png: Callable[[int], bytes], names: list[str] | None, memory: str
) -> None:
    """As CLIP_benchmark's sets on the hub lie."""
    for split, value in (("test", 2), ("train", 5)):
        for n in range(2):
            files = [(f"s{n}.png", png(n)), (f"s{n}.cls", str(value + n).encode())]
            write_tar(tmp_path / split / f"{n}.tar", files)
        (tmp_path / split / "nshards.txt").write_text("2\n")
    if names:
        (tmp_path / "classnames.txt").write_text("\n".join(names))
    fsspec.filesystem("memory").put(f"{tmp_path}/", "/bucket/data", recursive=True)
    turned = names == CIFAR10[::-1]
    for path in (tmp_path, memory):
        dataset = opened(path, "cifar10")
        assert labels(dataset) == ([7, 6] if turned else [2, 3])
        assert dataset.label_names == spec_of("cifar10").classes
        train = opened(path, "cifar10", split="train", layout="webdataset")
        assert labels(train) == ([4, 3] if turned else [5, 6])
    assert labels(opened(tmp_path / "test", "cifar10")) == ([7, 6] if turned else [2, 3])


def test_text_in_a_tars_json_is_matched_by_name(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    files = []
    for n, name in enumerate(("truck", "deer")):
        files += [(f"{n}.png", png(n)), (f"{n}.json", json.dumps({"kind": name}).encode())]
    write_tar(tmp_path / "test-0.tar", files)
    assert labels(opened(tmp_path, "cifar10", label_column="kind")) == [9, 4]


def test_real_cifar10_by_name(shared_data: Path) -> None:
    """Its Parquet file has other columns than the hub's, and numbers in the official order."""
    path = shared_data / "cifar10"
    dataset = opened(path, "cifar10", limit=None)
    assert len(dataset.records) == spec_of("cifar10").images
    names = pq.read_table(path / "test.parquet", columns=["class_name"])["class_name"].to_pylist()
    assert [dataset.label_names[record.label or 0] for record in dataset.records] == names
    assert dataset.read(17).size == (32, 32)
    by_text = opened(path / "test.parquet", "cifar10", label_column="class_name")
    assert labels(by_text) == labels(dataset)


def test_real_mnist_by_name(shared_data: Path) -> None:
    dataset = opened(shared_data / "mnist", "mnist")
    assert len(dataset.records) == spec_of("mnist").images
    n_each = np.bincount(labels(dataset))
    # LeCun's test set, as its label file counts: a fact of the set, the same in every copy.
    assert n_each.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    seven = np.asarray(dataset.read(0))
    assert labels(dataset)[0] == 7
    assert seven.shape == (28, 28)
    assert seven[8, 8] > 100 > seven[20, 8]  # its bar is at the top; ink is bright
