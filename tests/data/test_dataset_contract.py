"""What every reader promises; a new reader is added to READERS and gets these tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.array_sets import WAYS
from tests.support.tars import write_tar
from zsd_ray.config.data import CorruptionConfig, DataConfig
from zsd_ray.data.dataset import ImageDataset, choose_share, choose_subset
from zsd_ray.data.open import open_dataset
from zsd_ray.data.pictures.transforms import to_square

LABELS = ["cat", "dog", "emu"] * 8


@pytest.fixture
def files(picture: Callable[..., Image.Image], encode: Callable[..., bytes]) -> list[bytes]:
    return [encode(picture(seed)) for seed in range(len(LABELS))]


@pytest.fixture
def folder(tmp_path: Path, files: list[bytes]) -> Path:
    for number, (label, content) in enumerate(zip(LABELS, files, strict=True)):
        (tmp_path / "folder" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / label / f"{number}.png").write_bytes(content)
    return tmp_path / "folder"


@pytest.fixture
def parquet(tmp_path: Path, files: list[bytes]) -> Path:
    (tmp_path / "parquet").mkdir()
    for part in range(2):
        rows = slice(12 * part, 12 * part + 12)
        columns = {
            "image": pa.array([{"bytes": data, "path": None} for data in files[rows]]),
            "label": [sorted(set(LABELS)).index(label) for label in LABELS[rows]],
            "name": LABELS[rows],
            "captions": [["a cat", "a dog", "an emu"]] * 12,
        }
        path = tmp_path / "parquet" / f"part-{part}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=5)
    return tmp_path / "parquet"


@pytest.fixture
def winoground(tmp_path: Path, files: list[bytes]) -> Path:
    root = tmp_path / "winoground"
    (root / "images").mkdir(parents=True)
    lines = []
    for number, content in enumerate(files):
        (root / "images" / f"{number}.png").write_bytes(content)
    for number in range(0, len(files), 2):
        example: dict[str, object] = {"id": number, "image_0": number, "image_1": number + 1}
        lines.append(json.dumps(example | {"caption_0": "a b", "caption_1": "b a"}))
    (root / "examples.jsonl").write_text("\n".join(lines))
    return root


@pytest.fixture
def clevr(tmp_path: Path, files: list[bytes]) -> Path:
    root = tmp_path / "clevr"
    for name in ("images", "scenes"):
        (root / name).mkdir(parents=True)
    for number, content in enumerate(files):
        left = {"shape": "cube", "color": "red", "size": "small", "pixel_coords": [5, 9, 9]}
        right = {"shape": "sphere", "color": "blue", "size": "large", "pixel_coords": [8, 9, 9]}
        scene = {"image_filename": f"{number}.png", "objects": [left, right]}
        (root / "images" / f"{number}.png").write_bytes(content)
        (root / "scenes" / f"{number}.json").write_text(json.dumps(scene))
    return root


@pytest.fixture
def webdataset(tmp_path: Path, files: list[bytes]) -> Path:
    for part in range(2):
        numbers = range(12 * part, 12 * part + 12)
        parts = [
            (f"{n:03}.{end}", data)
            for n in numbers
            for end, data in (("png", files[n]), ("cls", b"%d" % (n % 3)))
        ]
        write_tar(tmp_path / "webdataset" / f"{part}.tar", parts)
    (tmp_path / "webdataset" / "classnames.txt").write_text("cat\ndog\nemu\n")
    return tmp_path / "webdataset"


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    return WAYS["cifar10-official-cifar10_binary-"].make(tmp_path / "cifar10")


@pytest.fixture
def svhn(tmp_path: Path) -> Path:
    return WAYS["svhn-official-svhn-"].make(tmp_path / "svhn")


def shared(request: pytest.FixtureRequest, name: str) -> str:
    folder: Path = request.getfixturevalue("shared_data")
    return str(folder / name)


def remote(request: pytest.FixtureRequest, name: str) -> str:
    url: str = request.getfixturevalue("memory")
    local = request.getfixturevalue(name)
    fsspec.filesystem("memory").put(f"{local}/", "/bucket/data", recursive=True)
    return url


Request = pytest.FixtureRequest
READERS: dict[str, Callable[[Request], DataConfig]] = {
    "digits-test": lambda _: DataConfig(split="test"),
    "digits-corrupted": lambda _: DataConfig(
        corruption=CorruptionConfig(kind="gaussian-noise", strength=3)
    ),
    "digits-train": lambda _: DataConfig(split="train"),
    "folder": lambda r: DataConfig(source="folder", path=str(r.getfixturevalue("folder"))),
    "folder-remote": lambda r: DataConfig(source="folder", path=remote(r, "folder")),
    "parquet": lambda r: DataConfig(source="parquet", path=str(r.getfixturevalue("parquet"))),
    "parquet-named": lambda r: DataConfig(
        source="parquet", path=str(r.getfixturevalue("parquet")), label_column="name"
    ),
    "parquet-unlabelled": lambda r: DataConfig(
        source="parquet", path=str(r.getfixturevalue("parquet")), label_column=None
    ),
    "parquet-remote": lambda r: DataConfig(source="parquet", path=remote(r, "parquet")),
    "parquet-captioned": lambda r: DataConfig(
        source="parquet", path=str(r.getfixturevalue("parquet")), caption_column="captions"
    ),
    "winoground": lambda r: DataConfig(
        source="winoground", path=str(r.getfixturevalue("winoground"))
    ),
    "winoground-remote": lambda r: DataConfig(source="winoground", path=remote(r, "winoground")),
    "clevr-binding": lambda r: DataConfig(
        source="clevr-binding", path=str(r.getfixturevalue("clevr")), task="size|color"
    ),
    "two-objects": lambda _: DataConfig(source="two-objects", split="train"),
    "two-objects-task": lambda _: DataConfig(source="two-objects", task="color,size"),
    "webdataset": lambda r: DataConfig(
        source="webdataset", path=str(r.getfixturevalue("webdataset"))
    ),
    "webdataset-remote": lambda r: DataConfig(source="webdataset", path=remote(r, "webdataset")),
    "cifar10-batches": lambda r: DataConfig(
        source="cifar10", path=str(r.getfixturevalue("cifar10"))
    ),
    "cifar10-batches-remote": lambda r: DataConfig(source="cifar10", path=remote(r, "cifar10")),
    "svhn": lambda r: DataConfig(source="svhn", path=str(r.getfixturevalue("svhn"))),
    "svhn-remote": lambda r: DataConfig(source="svhn", path=remote(r, "svhn")),
    "cifar10": lambda r: DataConfig(source="parquet", path=shared(r, "cifar10/test.parquet")),
    "cifar10-by-name": lambda r: DataConfig(source="cifar10", path=shared(r, "cifar10")),
    "mnist-by-name": lambda r: DataConfig(source="mnist", path=shared(r, "mnist")),
    "cue-conflict": lambda r: DataConfig(source="folder", path=shared(r, "cue-conflict/images")),
}


@pytest.fixture(params=READERS)
def config(request: pytest.FixtureRequest) -> DataConfig:
    return READERS[request.param](request)


@pytest.fixture
def dataset(config: DataConfig) -> ImageDataset:
    return open_dataset(config)


def some(dataset: ImageDataset) -> list[int]:
    """About 25 images, the first and the last among them."""
    n = len(dataset.records)
    return sorted({*range(0, n, max(1, n // 24)), n - 1})


@pytest.mark.few(9)
def test_ids_are_unique_and_stable(config: DataConfig, dataset: ImageDataset) -> None:
    ids = [record.image_id for record in dataset.records]
    assert len(set(ids)) == len(ids) > 0
    assert list(open_dataset(config).records) == list(dataset.records)


@pytest.mark.few(9)
def test_ids_name_no_machine(config: DataConfig, dataset: ImageDataset) -> None:
    for record in dataset.records:
        assert not record.image_id.startswith("/")
        assert "\\" not in record.image_id
        assert config.path is None or config.path not in record.image_id


@pytest.mark.few(9)
def test_every_record_has_an_image(dataset: ImageDataset) -> None:
    for index in some(dataset):
        image = dataset.read(index)
        assert isinstance(image, Image.Image)
        assert to_square(image, 8).shape == (8, 8, 3)


@pytest.mark.few(9)
def test_reading_twice_and_in_any_order_gives_the_same(dataset: ImageDataset) -> None:
    indices = some(dataset)
    forth = {index: np.asarray(dataset.read(index)) for index in indices}
    for index in reversed(indices):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), forth[index])


@pytest.mark.few(9)
def test_images_differ(dataset: ImageDataset) -> None:
    """A reader that is off by a row group or a file would repeat or skip."""
    seen = {np.asarray(dataset.read(index)).tobytes() for index in some(dataset)}
    assert len(seen) == len(some(dataset))


@pytest.mark.few(9)
def test_pickles_and_reads_after_unpickling(
    dataset: ImageDataset, travel: Callable[[ImageDataset], ImageDataset]
) -> None:
    before = {index: np.asarray(dataset.read(index)) for index in some(dataset)}
    copy = travel(dataset)
    assert list(copy.records) == list(dataset.records)
    assert copy.label_names == dataset.label_names
    for index, pixels in before.items():
        np.testing.assert_array_equal(np.asarray(copy.read(index)), pixels)


@pytest.mark.few(9)
def test_labels_are_in_range(dataset: ImageDataset) -> None:
    for record in dataset.records:
        assert record.label is None or record.label >= 0
        if dataset.label_names is not None:
            assert record.label is None or record.label < len(dataset.label_names)


@pytest.mark.few(9)
def test_label_names_are_distinct_text(dataset: ImageDataset) -> None:
    names = dataset.label_names
    assert names is None or len(set(names)) == len(names)


@pytest.mark.few(9)
def test_subsets_are_nested_and_deterministic(config: DataConfig, dataset: ImageDataset) -> None:
    n = len(dataset.records)
    smaller: set[int] = set()
    for limit in (1, 5, n // 2, n - 1, n, n + 1):
        subset = choose_subset(dataset.records, limit)
        assert list(subset) == sorted(set(subset))
        assert len(subset) == min(limit, n)
        assert smaller <= set(subset)
        assert subset == choose_subset(open_dataset(config).records, limit)
        smaller = set(subset)
    assert list(choose_subset(dataset.records, None)) == list(range(n))


@pytest.mark.few(9)
def test_a_subset_depends_on_ids_and_not_on_order(dataset: ImageDataset) -> None:
    records = list(dataset.records)
    turned = records[::-1]
    one = {records[index].image_id for index in choose_subset(records, 7)}
    assert one == {turned[index].image_id for index in choose_subset(turned, 7)}


def test_a_share_is_of_the_images_that_are_asked_for_and_nested() -> None:
    records = open_dataset(DataConfig()).records
    numbers = range(0, 500, 2)
    small, large = (choose_share(records, numbers, share, 0) for share in (0.2, 0.4))
    assert set(small) < set(large) < set(numbers)
    assert len(small) == pytest.approx(50, abs=3 * (250 * 0.2 * 0.8) ** 0.5)
    assert len(large) == pytest.approx(100, abs=3 * (250 * 0.4 * 0.6) ** 0.5)
    assert choose_share(records, numbers, 1.0, 0) == list(numbers)
    assert choose_share(records, numbers, 0.0, 0) == []
    assert choose_share(records, numbers, 0.2, 1) != small
    # Not the images that a limit takes first: those would be all audited, or none.
    first = set(choose_subset(records, 100))
    assert 5 < len(first & set(choose_share(records, range(500), 0.2, 0))) < 40
