"""The sets of photographs in Parquet and in tars, whose labels may be in an order of their own."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.layouts.fixtures import OFFICIAL
from tests.support.tars import write_tar
from zsd_ray.config.data import DataConfig
from zsd_ray.data.catalogue import imagenet_wnids, spec_of
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError

# By data set: what the copy on the hub calls its labels, in its order, and its word for "test".
PARQUET: dict[str, tuple[Sequence[str], str]] = {
    "dtd": (spec_of("dtd").labels, "test"),
    "stanford-cars": (spec_of("stanford-cars").labels, "test"),
    "imagenet": ([f"lemma {n}, another" for n in range(1000)], "validation"),
    # Regardless of case, as the archive counts them.
    "oxford-pets": (sorted(map(str.lower, spec_of("oxford-pets").labels)), "test"),
    # By its file of classes, which has cheesecake before cheese_plate.
    "food101": (sorted(spec_of("food101").labels, key=lambda s: s.replace("_", "~")), "validation"),
}
# What stands in classnames.txt beside the tars.
TARS: dict[str, Sequence[str]] = {
    "dtd": spec_of("dtd").classes,
    "stanford-cars": spec_of("stanford-cars").classes,
    "imagenet": [f"name {n}" for n in range(1000)],
    "imagenet-v2": [f"name {n}" for n in range(1000)],
    "imagenet-a": [f"name {n}" for n in range(200)],
    "imagenet-r": [f"name {n}" for n in range(200)],
    "imagenet-sketch": [f"name {n}" for n in range(1000)],
    "oxford-pets": sorted(spec_of("oxford-pets").classes, key=str.lower),
    "flowers102": spec_of("flowers102").classes,
    "food101": spec_of("food101").classes,
    "fgvc-aircraft": spec_of("fgvc-aircraft").classes,
}


def encoded(seed: int) -> bytes:
    levels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path: Path, labels: list[int] | list[str], column: str, known: object) -> None:
    path.parent.mkdir(exist_ok=True)
    images = [{"bytes": encoded(seed), "path": None} for seed in range(len(labels))]
    table = pa.table({"image": images, column: labels})
    features = {"image": {"_type": "Image"}, column: known}
    written = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": written}), path)


def opened(name: str, path: Path, **keys: str) -> ImageDataset:
    return open_dataset(DataConfig.model_validate({"source": name, "path": str(path), **keys}))


def labels_of(dataset: ImageDataset) -> list[int | None]:
    return [record.label for record in dataset.records]


def plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")


def position(name: str, known: Sequence[str], label: int) -> int:
    """Where a spec has the class that the copy counts as `label`."""
    classes = spec_of(name).classes
    return label if classes == "imagenet" else [*map(plain, classes)].index(plain(known[label]))


def test_every_set_that_has_a_layout_of_the_hub_is_tested() -> None:
    specs = {name: spec_of(name) for name in OFFICIAL}
    assert {n for n, s in specs.items() if "parquet" in s.layouts} == {*PARQUET, "imagenet-r"}
    assert {n for n, s in specs.items() if "webdataset" in s.layouts} == set(TARS)


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_as_on_the_hub(name: str, tmp_path: Path) -> None:
    known, word = PARQUET[name]
    theirs = [len(known) - 1, 0, 1, len(known) // 2, 16]
    feature = {"names": list(known), "_type": "ClassLabel"}
    for split, labels in ((word, theirs), ("train", theirs[::-1])):
        path = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        write_parquet(path, labels, "label", feature)
        dataset = opened(name, tmp_path, split="train" if split == "train" else "test")
        assert labels_of(dataset) == [position(name, known, label) for label in labels]
        assert tuple(dataset.label_names or ()) == tuple(spec_of(name).label_names)
        assert np.asarray(dataset.read(1)).shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["dtd", "stanford-cars", "oxford-pets"])
def test_numbers_without_names_are_those_of_the_sets_copies(name: str, tmp_path: Path) -> None:
    """A copy made from torchvision's data set has no names; its pets are not cats first."""
    known = PARQUET[name][0]
    theirs = [len(known) - 1, 0, 1, len(known) // 2, 16]
    wanted = [position(name, known, label) for label in theirs]
    images = [encoded(seed) for seed in range(len(theirs))]
    (tmp_path / "parquet").mkdir()
    pq.write_table(
        pa.table({"image": images, "label": theirs}), tmp_path / "parquet" / "test-0.parquet"
    )
    files = [
        (f"s{n:07d}.{extension}", content)
        for n, label in enumerate(theirs)
        for extension, content in (("cls", str(label).encode()), ("png", images[n]))
    ]
    write_tar(tmp_path / "tars" / "test" / "0.tar", files)
    for folder in ("parquet", "tars"):
        dataset = opened(name, tmp_path / folder)
        assert labels_of(dataset) == wanted
        assert tuple(dataset.label_names or ()) == tuple(spec_of(name).label_names)


def test_numbers_sorted_as_text_are_no_order(tmp_path: Path) -> None:
    """So a well-known copy of Flowers-102 counts: label 1 is the archive's class 10."""
    names = sorted(str(number) for number in range(1, 48))
    feature = {"names": names, "_type": "ClassLabel"}
    write_parquet(tmp_path / "test-0.parquet", [0, 1, 2], "label", feature)
    with pytest.raises(
        UserError, match=r"47 are none of the 47 classes of DTD \(1, 10, 11, \.\.\.\)"
    ):
        opened("dtd", tmp_path)
    feature["names"] = sorted(names, key=int)
    write_parquet(tmp_path / "test-0.parquet", [0, 1, 2], "label", feature)
    assert labels_of(opened("dtd", tmp_path)) == [0, 1, 2]


def test_imagenet_r_on_the_hub_names_its_classes_by_wnid(tmp_path: Path) -> None:
    wnids = [imagenet_wnids()[number] for number in (988, 1, 291)]
    feature = {"dtype": "string", "_type": "Value"}
    write_parquet(tmp_path / "test-00000-of-00001.parquet", wnids, "wnid", feature)
    labels = [spec_of("imagenet-r").labels.index(wnid) for wnid in wnids]
    assert labels_of(opened("imagenet-r", tmp_path)) == labels == [199, 0, 75]


@pytest.mark.parametrize("name", TARS)
def test_tars_of_clip_benchmark(name: str, tmp_path: Path) -> None:
    known = TARS[name]
    (tmp_path / "classnames.txt").write_text("\n".join(known), encoding="utf-8")
    theirs = [len(known) - 1, 0, 1, len(known) // 2]
    files = [
        (f"s{n:07d}.{extension}", content)
        for n, label in enumerate(theirs)
        for extension, content in (("cls", str(label).encode()), ("png", encoded(n)))
    ]
    write_tar(tmp_path / "test" / "0.tar", files)
    dataset = opened(name, tmp_path)
    assert labels_of(dataset) == [position(name, known, label) for label in theirs]
    assert tuple(dataset.label_names or ()) == tuple(spec_of(name).label_names)
