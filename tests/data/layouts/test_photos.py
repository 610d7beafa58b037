"""The data sets of photographs, each in the layout of its archive and of a torchvision root."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.data.layouts.fixtures import OFFICIAL, TORCHVISION, WNIDS, image, imagenet_folders
from zsd_ray.config.data import DataConfig
from zsd_ray.data.catalogue import spec_of
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.layouts.image_files import ImageFiles
from zsd_ray.data.location import Location
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import ImageError, UserError


def opened(name: str, path: Path | str, **keys: Any) -> ImageDataset:
    config = DataConfig.model_validate({"source": name, "path": str(path), **keys})
    return open_dataset(config)


def shown(dataset: ImageDataset) -> dict[str, str]:
    """Each image's id -> the name of its class."""
    assert dataset.label_names is not None
    names = dataset.label_names
    found = {r.image_id: names[r.label] for r in dataset.records if r.label is not None}
    assert len(found) == len(dataset.records)
    return found


def refusal(name: str, path: Path, **keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(name, path, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.few(4)
@pytest.mark.parametrize("name", OFFICIAL)
def test_an_archive_as_unpacked(name: str, tmp_path: Path) -> None:
    splits = OFFICIAL[name](tmp_path / "archive")
    spec = spec_of(name)
    for split, expected in splits.items():
        dataset = opened(name, tmp_path / "archive", split=split, layout="official")
        assert shown(dataset) == expected
        assert tuple(dataset.label_names or ()) == tuple(spec.label_names)
        for index, record in enumerate(dataset.records):
            path = record.image_id.rpartition("/")[2] if name == "imagenet" else record.image_id
            assert record.source.endswith(f"/{path}")
            picture = np.asarray(dataset.read(index))
            stored = np.asarray(Image.open(record.source))
            border = 2 if name == "objectnet" else 0
            inner = stored[border : len(stored) - border, border : stored.shape[1] - border]
            np.testing.assert_array_equal(picture, inner)
            assert picture.shape == (9, 12, 3)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", OFFICIAL)
def test_a_layout_is_found_without_being_named(name: str, tmp_path: Path) -> None:
    expected = OFFICIAL[name](tmp_path)["test"]
    assert shown(opened(name, tmp_path)) == expected


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_torchvision_root(name: str, tmp_path: Path) -> None:
    folder, write = TORCHVISION[name]
    for split, expected in write(tmp_path / folder).items():
        assert shown(opened(name, tmp_path, split=split)) == expected
        assert shown(opened(name, tmp_path, split=split, layout="torchvision")) == expected


@pytest.mark.few(4)
@pytest.mark.parametrize("name", OFFICIAL)
def test_a_store(name: str, tmp_path: Path, memory: str) -> None:
    expected = OFFICIAL[name](tmp_path)["test"]
    fsspec.filesystem("memory").put(f"{tmp_path}/", "/bucket/data", recursive=True)
    dataset = opened(name, memory)
    assert shown(dataset) == expected
    local = opened(name, tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - pickled by this test
    assert list(copy.records) == list(dataset.records)
    for index, record in enumerate(local.records):
        assert copy.records[index].image_id == record.image_id
        np.testing.assert_array_equal(np.asarray(copy.read(index)), np.asarray(local.read(index)))


@pytest.mark.parametrize("name", OFFICIAL)
def test_where_nothing_is_there_the_error_says_what_goes_where(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    message = refusal(name, tmp_path)
    assert message.startswith(f"data.path {tmp_path} holds no {spec.title} (test split)")
    for layout in spec.layouts.values():
        assert layout.needs in message
    assert message.endswith(spec.get)


@pytest.mark.parametrize("name", [n for n in OFFICIAL if "train" not in spec_of(n).splits])
def test_a_set_without_a_training_split_says_so(name: str, tmp_path: Path) -> None:
    OFFICIAL[name](tmp_path)
    assert "data.split train is no split of" in refusal(name, tmp_path, split="train")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cars_of_class(root: Path, number: int, n_cars: int = 2) -> None:
    fields = [("class", "i4"), ("fname", "O")]
    rows = np.array([[(number, f"{n:05d}.jpg") for n in range(1, n_cars + 1)]], fields)
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": rows})


# What is done to the archive, and what the error must say of it.
BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "dtd: an image is lost": (
        "dtd",
        lambda root: (root / "images/banded/banded_0002.jpg").unlink(),
        "test1.txt lists 3 images, of which {root}/images lacks 1 (banded/banded_0002.jpg); unpack",
    ),
    "dtd: a texture that is none": (
        "dtd",
        lambda root: replace(root / "labels/test1.txt", "zigzagged/", "plain/"),
        "labels/test1.txt, line 3: 'plain/zigzagged_0001.jpg' names no class of DTD; put the list",
    ),
    "dtd: an empty list": (
        "dtd",
        lambda root: (root / "labels/test1.txt").write_text("\n"),
        "labels/test1.txt lists no images; put the list of the archive there",
    ),
    "dtd: a list that is no text": (
        "dtd",
        lambda root: (root / "labels/test1.txt").write_bytes(b"\xff\xfe\x00"),
        "cannot read {root}/labels/test1.txt: ",
    ),
    "food101: all images are lost": (
        "food101",
        lambda root: shutil.rmtree(root / "images"),
        "lists 5 images, of which {root}/images lacks 5 (apple_pie/1011328.jpg, ",
    ),
    "fgvc-aircraft: a line without a variant": (
        "fgvc-aircraft",
        lambda root: replace(root / "data/images_variant_test.txt", " F/A-18", ""),
        "line 3: '1008575' does not name an image and its class of FGVC Aircraft; put the list",
    ),
    "oxford-pets: an image is lost": (
        "oxford-pets",
        lambda root: (root / "images/yorkshire_terrier_2.jpg").unlink(),
        "annotations/test.txt lists 4 images, of which {root}/images lacks 1",
    ),
    "flowers102: the labels are lost": (
        "flowers102",
        lambda root: (root / "imagelabels.mat").unlink(),
        "cannot read {root}/imagelabels.mat as a MATLAB file: ",
    ),
    "flowers102: the labels are those of the splits": (
        "flowers102",
        lambda root: shutil.copy(root / "setid.mat", root / "imagelabels.mat"),
        "{root}/imagelabels.mat has no labels; put the archive's own file there",
    ),
    "flowers102: a label beyond the classes": (
        "flowers102",
        lambda root: savemat(root / "imagelabels.mat", {"labels": [[1, 2, 3, 103, 1, 1]]}),
        "{root}/imagelabels.mat holds labels 1 to 103; those of Flowers-102 are 1 to 102",
    ),
    "flowers102: an image without a label": (
        "flowers102",
        lambda root: savemat(root / "imagelabels.mat", {"labels": [[1, 2]]}),
        "setid.mat names images 1 to 3, but {root}/imagelabels.mat has the labels of images 1 to 2",
    ),
    "flowers102: an image is lost": (
        "flowers102",
        lambda root: (root / "jpg/image_00003.jpg").unlink(),
        "setid.mat lists 2 images, of which {root}/jpg lacks 1 (image_00003.jpg)",
    ),
    "stanford-cars: annotations without classes": (
        "stanford-cars",
        lambda root: shutil.copy(
            root / "devkit/cars_meta.mat", root / "cars_test_annos_withlabels.mat"
        ),
        "cars_test_annos_withlabels.mat has no annotations.fname; put the archive's own file",
    ),
    "stanford-cars: classes that count from 0": (
        "stanford-cars",
        lambda root: cars_of_class(root, 0),
        "withlabels.mat holds classes 0 to 0; those of Stanford Cars are 1 to 196",
    ),
    "stanford-cars: a class too many": (
        "stanford-cars",
        lambda root: cars_of_class(root, 197),
        "withlabels.mat holds classes 197 to 197; those of Stanford Cars are 1 to 196",
    ),
    "stanford-cars: an image is lost": (
        "stanford-cars",
        lambda root: (root / "cars_test/00002.jpg").unlink(),
        "withlabels.mat lists 3 images, of which {root}/cars_test lacks 1 (00002.jpg)",
    ),
    "eurosat: a folder of another class": (
        "eurosat",
        lambda root: image(root / "2750/Desert/Desert_1.jpg"),
        "2750 holds 1 folders of images that are no classes of EuroSAT (Desert); its 10 class",
    ),
    "caltech101: a folder of another class": (
        "caltech101",
        lambda root: image(root / "101_ObjectCategories/zebra/image_0001.jpg"),
        "no classes of Caltech-101 (zebra)",
    ),
    "imagenet: the devkit's table is lost": (
        "imagenet",
        lambda root: (root / "ILSVRC2012_devkit_t12/data/meta.mat").unlink(),
        "cannot read {root}/ILSVRC2012_devkit_t12/data/meta.mat as a MATLAB file: ",
    ),
    "imagenet: the devkit is lost": (
        "imagenet",
        lambda root: shutil.rmtree(root / "ILSVRC2012_devkit_t12"),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
    ),
    "imagenet: an image beyond the devkit's list": (
        "imagenet",
        lambda root: image(root / "val/ILSVRC2012_val_00000006.JPEG"),
        "has the classes of 5 images, and there is an image number 6",
    ),
    "imagenet: a class that the devkit does not know": (
        "imagenet",
        lambda root: replace(
            root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", "442", "7"
        ),
        "holds the class 7, which {root}/ILSVRC2012_devkit_t12/data/meta.mat gives no WNID of",
    ),
    "imagenet-v2: a folder beyond the classes": (
        "imagenet-v2",
        lambda root: image(root / "imagenetv2-matched-frequency-format-val/1000/a.jpeg"),
        "no classes of ImageNet-v2 (1000)",
    ),
    "imagenet-a: ImageNet itself": (
        "imagenet-a",
        lambda root: image(root / "imagenet-a/n01440764/a.jpg"),
        "no classes of ImageNet-A (n01440764); its 200 class folders are n01498041, ",
    ),
    "imagenet-r: ImageNet itself": (
        "imagenet-r",
        lambda root: image(root / "imagenet-r/n01440764/a.jpg"),
        "no classes of ImageNet-R (n01440764)",
    ),
    "imagenet-sketch: a WNID beyond the 1,000": (
        "imagenet-sketch",
        lambda root: image(root / "sketch/n00001740/a.JPEG"),
        "no classes of ImageNet-Sketch (n00001740)",
    ),
    "objectnet: the images are lost": (
        "objectnet",
        lambda root: shutil.rmtree(root / "objectnet-1.0/images"),
        "official needs objectnet-1.0/images/CLASS/*.png",
    ),
    "cue-conflict: a name without cues": (
        "cue-conflict",
        lambda root: image(root / "style-transfer-preprocessed-512/cat/7.png"),
        "'cat/7.png' does not say its cues; a cue-conflict image is named SHAPEn-TEXTUREm.png",
    ),
    "cue-conflict: an image in the folder of its texture": (
        "cue-conflict",
        lambda root: image(root / "style-transfer-preprocessed-512/cat/dog2-cat1.png"),
        "dog2-cat1.png has shape 'dog' and texture 'cat' by its name; it must lie in the folder of",
    ),
    "cue-conflict: a texture that is no class": (
        "cue-conflict",
        lambda root: image(root / "style-transfer-preprocessed-512/cat/cat2-zebra1.png"),
        "both be one of the 16 classes",
    ),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_archive_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    name, damage, message = BROKEN[case]
    OFFICIAL[name](tmp_path)
    damage(tmp_path)
    assert message.format(root=tmp_path) in refusal(name, tmp_path, layout="official")


def test_every_set_has_a_broken_archive_among_the_tests() -> None:
    assert {name for name, _, _ in BROKEN.values()} == set(OFFICIAL)


def test_class_folders_may_be_a_subset_and_the_classes_stay(tmp_path: Path) -> None:
    expected = imagenet_folders(tmp_path)["test"]
    for path, layout in ((tmp_path, "torchvision"), (tmp_path / "val", "folder")):
        dataset = opened("imagenet", path, layout=layout)
        assert shown(dataset) == expected
        assert len(dataset.label_names or ()) == 1000
        assert {r.label for r in dataset.records} == {1, 4, 999}


def test_the_label_of_the_challenge_is_that_of_the_sorted_wnids(tmp_path: Path) -> None:
    OFFICIAL["imagenet"](tmp_path)
    label_of = {r.image_id[25:33]: r.label for r in opened("imagenet", tmp_path).records}
    assert label_of == {f"{n:08d}": label for n, label in enumerate([999, 0, 1, 0, 4], 1)}


def test_numbered_folders_are_labels_and_not_sorted_as_text(tmp_path: Path) -> None:
    for label in (2, 10, 100):
        image(tmp_path / str(label) / f"{label}.jpeg")
    records = opened("imagenet-v2", tmp_path).records
    assert {r.image_id: r.label for r in records} == {
        "2/2.jpeg": 2,
        "10/10.jpeg": 10,
        "100/100.jpeg": 100,
    }


def test_files_named_after_their_wnid(tmp_path: Path) -> None:
    for wnid in WNIDS:
        image(tmp_path / f"{wnid}_what it is.JPEG")
    dataset = opened("imagenet", tmp_path)
    assert shown(dataset) == {f"{wnid}/{wnid}_what it is.JPEG": wnid for wnid in WNIDS}
    assert np.asarray(dataset.read(3)).shape == (9, 12, 3)
    image(tmp_path / "n00001740_entity.JPEG")
    assert "1 WNIDs that are no classes of ImageNet (n00001740)" in refusal("imagenet", tmp_path)


def test_the_red_border_is_cut_off(tmp_path: Path) -> None:
    OFFICIAL["objectnet"](tmp_path)
    dataset = opened("objectnet", tmp_path)
    for index in range(len(dataset.records)):
        edges = np.asarray(dataset.read(index)).astype(int)
        assert not (edges == (255, 0, 0)).all(axis=-1).any()


def test_an_image_that_is_all_border_is_refused(tmp_path: Path) -> None:
    image(tmp_path / "a.png", width=4, height=9)
    dataset = ImageFiles(Location(str(tmp_path)), {"a.png": 0}, None, border=2)
    with pytest.raises(ImageError, match=r"a\.png: 4x9 pixels are nothing but the border of 2"):
        dataset.read(0)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("name", "made", "path"),
    [
        ("dtd", "dtd", "."),
        ("food101", "food-101", "."),
        ("fgvc-aircraft", "fgvc-aircraft-2013b", "."),
        ("eurosat", ".", "2750"),
        ("imagenet-v2", ".", "imagenetv2-matched-frequency-format-val"),
        ("imagenet-a", ".", "imagenet-a"),
        ("imagenet-r", ".", "imagenet-r"),
        ("imagenet-sketch", ".", "sketch"),
        ("objectnet", ".", "objectnet-1.0"),
        ("caltech101", ".", "101_ObjectCategories"),
        ("caltech101", "caltech-101", "."),
        ("cue-conflict", ".", "style-transfer-preprocessed-512"),
        ("cue-conflict", "stimuli", "."),
    ],
)
def test_the_folder_that_an_archive_makes_or_the_one_above(
    name: str, made: str, path: str, tmp_path: Path
) -> None:
    expected = OFFICIAL[name](tmp_path / made)["test"]
    dataset = opened(name, tmp_path / path)
    assert shown(dataset) == expected  # ids do not tell which of the two it was


def test_eurosats_second_publication_has_another_folder(tmp_path: Path) -> None:
    expected = OFFICIAL["eurosat"](tmp_path)["test"]
    (tmp_path / "2750").rename(tmp_path / "EuroSAT_RGB")
    assert shown(opened("eurosat", tmp_path)) == expected


def test_the_first_images_are_of_several_classes(tmp_path: Path) -> None:
    """So that the accuracy of the first of a long run is that of all, within its interval."""
    for label in range(4):
        for n in range(10):
            image(tmp_path / str(label) / f"{n}.jpeg")
    records = opened("imagenet-v2", tmp_path).records
    assert {record.label for record in records[:10]} == {0, 1, 2, 3}


def test_validation_images_are_no_training_images(tmp_path: Path) -> None:
    OFFICIAL["imagenet"](tmp_path)
    assert "holds no ImageNet (train split)" in refusal("imagenet", tmp_path, split="train")


def test_a_list_of_one_image(tmp_path: Path) -> None:
    OFFICIAL["stanford-cars"](tmp_path)
    cars_of_class(tmp_path, 196, n_cars=1)
    expected = {"cars_test/00001.jpg": "smart fortwo Convertible 2012"}
    assert shown(opened("stanford-cars", tmp_path)) == expected


def test_annotations_of_cars_may_lie_in_the_devkit(tmp_path: Path) -> None:
    expected = OFFICIAL["stanford-cars"](tmp_path)["test"]
    annotations = tmp_path / "cars_test_annos_withlabels.mat"
    annotations.rename(tmp_path / "devkit" / annotations.name)
    assert shown(opened("stanford-cars", tmp_path)) == expected
