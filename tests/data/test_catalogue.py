"""The catalogue: its specs, how a layout is chosen, and what is said where none is found."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tests.support.array_sets import WAYS
from zsd_ray.config.data import DataConfig
from zsd_ray.config.readers import DATASETS
from zsd_ray.data.catalogue import DatasetSpec, parse_spec, spec_of
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError

OF_CLIP = {
    "caltech101": "Caltech101",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "dtd": "DescribableTextures",
    "eurosat": "EuroSAT",
    "fgvc-aircraft": "FGVCAircraft",
    "flowers102": "Flowers102",
    "food101": "Food101",
    "mnist": "MNIST",
    "oxford-pets": "OxfordPets",
    "pcam": "PatchCamelyon",
    "stanford-cars": "StanfordCars",
    "stl10": "STL10",
}
# How many test images a publisher's own description gives.
N_IMAGES = {
    "cifar10": 10_000, "cifar100": 10_000, "stl10": 8_000, "mnist": 10_000, "svhn": 26_032,
    "pcam": 32_768,
}  # fmt: skip


def opened(path: Path, source: str, **keys: Any) -> Any:
    return open_dataset(DataConfig.model_validate({"source": source, "path": str(path), **keys}))


def test_the_configuration_takes_just_the_sets_of_the_catalogue() -> None:
    assert len(DATASETS) == 21
    for name in DATASETS:
        assert DataConfig.model_validate({"source": name, "path": "x"}).is_named
    with pytest.raises(ValidationError, match="mnist"):
        DataConfig.model_validate({"source": "minst", "path": "x"})


@pytest.mark.parametrize("name", DATASETS)
def test_every_layout_has_a_reader_that_takes_its_arguments(name: str) -> None:
    for layout in spec_of(name).layouts.values():
        module, _, function = layout.reader.partition(":")
        read = getattr(import_module(module), function)
        signature(read).bind(None, "test", spec_of(name), **layout.arguments)


@pytest.mark.parametrize("name", N_IMAGES)
def test_the_number_of_images(name: str) -> None:
    assert spec_of(name).images == N_IMAGES[name]


@pytest.mark.parametrize("name", OF_CLIP)
def test_names_and_templates_are_clips(name: str, shared_data: Path) -> None:
    text = (shared_data / "prompts" / "clip_prompts.md").read_text(encoding="utf-8")
    section = text.split(f"## {OF_CLIP[name]}\n")[1]
    listed = re.search(r"classes = (\[.*?\n\])\n\ntemplates = (\[.*?\n\])", section, re.DOTALL)
    assert listed is not None
    classes, templates = map(ast.literal_eval, listed.groups())
    spec = spec_of(name)
    assert spec.template == templates[0]
    assert sorted(spec.classes) == sorted(classes)
    if name not in ("flowers102", "oxford-pets"):
        assert list(spec.classes) == classes


SPEC: dict[str, Any] = {
    "title": "Two things",
    "images": 5,
    "split": "all",
    "metric": "accuracy",
    "template": "a {}.",
    "classes": ["cat", "dog"],
    "source": "nobody",
    "get": "Put it there.",
    "layouts": {"official": {"reader": "zsd_ray.data.layouts.idx:read", "needs": "a file"}},
}


def spec(**keys: Any) -> DatasetSpec:
    return parse_spec("two", yaml.safe_dump(SPEC | keys))


def test_a_spec_may_say_the_order_of_its_copies_numbers() -> None:
    assert list(spec().of_number) == [0, 1]
    assert list(spec(labels=["c", "d"], numbered=["d", "c"]).of_number) == [1, 0]
    with pytest.raises(UserError, match="numbered takes the labels, each once, in another order"):
        spec(labels=["c", "d"], numbered=["cat", "dog"])


@pytest.mark.parametrize("name", DATASETS)
def test_the_first_and_the_last_number_mean_what_torchvision_counts(name: str) -> None:
    """Its order is that of the archive's numbers, or of the sorted folders."""
    numbers = spec_of(name).of_number
    assert sorted(numbers) == list(range(spec_of(name).n_classes))
    if name == "oxford-pets":
        labels = [spec_of(name).labels[number] for number in numbers]
        assert labels == sorted(labels, key=str.lower)
        assert labels[:2] == ["Abyssinian", "american_bulldog"]
    else:
        assert list(numbers) == list(range(spec_of(name).n_classes))


def test_a_spec() -> None:
    assert spec().label_names == spec().labels == ("cat", "dog")
    assert spec().n_classes == 2
    assert spec(labels=["c", "d"]).label_names == ("cat", "dog")
    assert spec(classes=["x", "x"], labels=["c", "d"]).label_names == ("c", "d")


def test_a_spec_may_take_some_of_imagenet() -> None:
    some = spec(classes="imagenet", imagenet_labels=[999, 1])
    assert some.labels == some.label_names == ("n15075141", "n01443537")
    assert some.imagenet_labels == ((999,), (1,))
    assert spec(imagenet_labels=[[281, 282], 207]).imagenet_labels == ((281, 282), (207,))
    assert spec().imagenet_labels is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"metric": "mean"}, r"metric: came \"mean\""),
        ({"title": None}, r"title: came null"),
        ({"colour": 1}, r"unknown key colour"),
        ({"template": "a {} or {}"}, r"template: came"),
        ({"classes": ["one"]}, r"classes"),
        ({"classes": ["x", "x"]}, r"labels has 2 names, 1 of them distinct, for 2 classes"),
        ({"labels": ["a"]}, r"labels has 1 names, 1 of them distinct, for 2 classes"),
        ({"classes": ["1", 2]}, r"classes"),
        ({"classes": "imagenet", "imagenet_labels": [1, 1000]}, r"takes distinct numbers below"),
        ({"classes": "imagenet", "imagenet_labels": [1, -1]}, r"takes distinct numbers below 1000"),
        ({"classes": "imagenet", "imagenet_labels": [1, 1]}, r"takes distinct numbers below 1000"),
        ({"classes": "imagenet", "imagenet_labels": [1, [2, 3]]}, r"one number for a class of"),
        ({"classes": "imagenet", "imagenet_labels": "all"}, r"imagenet_labels"),
        ({"imagenet_labels": [1, [2, 1]]}, r"takes distinct numbers below 1000"),
        ({"imagenet_labels": [1]}, r"must give each of the 2 classes a number or more"),
        ({"imagenet_labels": [1, []]}, r"must give each of the 2 classes a number or more"),
        ({"layouts": {}}, r"layouts"),
        ({"layouts": {"mine": SPEC["layouts"]["official"]}}, r"layouts"),
        ({"layouts": {"official": {"reader": "os:system", "needs": "x"}}}, r"reader: came"),
        ({"layouts": {"official": {"reader": SPEC["layouts"]["official"]["reader"]}}}, r"needs"),
    ],
)
def test_a_broken_spec_is_refused_in_one_line(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        spec(**keys)
    assert re.search(rf"^assets/datasets/two\.yaml: .*{message}", str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "just text", ""])
def test_what_is_no_spec(text: str) -> None:
    with pytest.raises(UserError, match=r"^assets/datasets/two\.yaml (is not valid YAML|must be)"):
        parse_spec("two", text)


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match="no data set 'cifar' in the catalogue; it has: caltech101"):
        spec_of("cifar")
    with pytest.raises(ValidationError, match="Input should be 'digits', 'folder'"):
        DataConfig.model_validate({"source": "cifar", "path": "x"})


def test_where_nothing_is_there_the_error_says_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "something.txt").write_text("else")
    for path in (tmp_path, tmp_path / "none", tmp_path / "something.txt"):
        with pytest.raises(UserError) as caught:
            opened(path, "cifar10")
        message = str(caught.value)
        assert message.startswith(f"data.path {path} holds no CIFAR-10 (test split)")
        for layout, each in spec_of("cifar10").layouts.items():
            assert f"{layout} needs {each.needs}" in message
        assert message.endswith(spec_of("cifar10").get)
        assert "\n" not in message
    with pytest.raises(UserError, match="layout that is read: torchvision needs cifar-10-batches"):
        opened(tmp_path, "cifar10", layout="torchvision")


def test_a_layout_that_is_asked_for_is_the_only_one(tmp_path: Path) -> None:
    WAYS["cifar10-official-cifar10_binary-"].make(tmp_path)
    assert len(opened(tmp_path, "cifar10", layout="official").records) == 11
    with pytest.raises(UserError, match="holds no CIFAR-10"):
        opened(tmp_path, "cifar10", layout="torchvision")
    with pytest.raises(UserError, match=r"data\.layout 'tar' is none of CIFAR-10's; they are: off"):
        opened(tmp_path, "cifar10", layout="tar")


def test_a_layout_belongs_to_a_named_set() -> None:
    with pytest.raises(ValidationError, match="layout says nothing of source folder; remove it"):
        DataConfig(source="folder", path="x", layout="official")
    with pytest.raises(ValidationError, match="source cifar10 needs a path"):
        DataConfig(source="cifar10")


@pytest.mark.parametrize("columns", [{"label_column": None}, {"image_column": "img"}])
def test_columns_of_a_layout_without_columns_are_refused(
    tmp_path: Path, columns: dict[str, Any]
) -> None:
    WAYS["cifar10-official-cifar10_binary-"].make(tmp_path)
    with pytest.raises(UserError, match=r"column says nothing of CIFAR-10 in layout official"):
        opened(tmp_path, "cifar10", **columns)


@pytest.mark.parametrize(
    ("name", "split", "told"),
    [
        ("train", "test", True), ("Val", "train", True), ("train-1", "test", False),
        ("test", "test", False), ("val", "test", False), ("train", "train", False),
        ("images", "train", False), ("train-and-test", "test", False),
    ],
)  # fmt: skip
def test_a_path_that_is_called_as_another_split_is_told(
    tmp_path: Path, name: str, split: str, told: bool, recwarn: pytest.WarningsRecorder
) -> None:
    """Class folders do not say of which split they are."""
    wnid = spec_of("imagenet").labels[0]
    (tmp_path / name / wnid).mkdir(parents=True)
    (tmp_path / name / wnid / "a.png").touch()
    assert len(opened(tmp_path / name, "imagenet", split=split).records) == 1
    said = [str(each.message) for each in recwarn]
    assert [f"data.split is {split};" in each for each in said] == [True] * told


def test_a_split_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.split train is no split of ObjectNet, which has t"):
        opened(tmp_path, "objectnet", split="train")


def test_the_train_split_may_be_missing(tmp_path: Path) -> None:
    WAYS["mnist-official-mnist-"].make(tmp_path)
    for path in tmp_path.glob("train-*"):
        path.unlink()
    assert len(opened(tmp_path, "mnist").records) == 12
    with pytest.raises(UserError, match=r"holds no MNIST \(train split\)"):
        opened(tmp_path, "mnist", split="train")
