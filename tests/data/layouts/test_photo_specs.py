"""What the specs of the photographs say, against packages that know it; and the real files."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zsd_ray.config.data import DataConfig
from zsd_ray.data.catalogue import imagenet_wnids, spec_of
from zsd_ray.data.layouts.cue_conflict import cues
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError


@cache
def timm_lines(name: str) -> tuple[str, ...]:
    """A file of timm's about ImageNet, line by line; timm itself is not imported."""
    spec = find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "_info" / name
    return tuple(path.read_text(encoding="utf-8").splitlines())


@cache
def synonyms(label: int) -> frozenset[str]:
    lemma = lemmas()[imagenet_wnids()[label]]
    return frozenset(word.lower() for word in lemma.split(", "))


@cache
def lemmas() -> dict[str, str]:
    """WNID -> its words."""
    return dict(line.split("\t") for line in timm_lines("imagenet_synset_to_lemma.txt"))


def test_the_wnids_of_imagenet() -> None:
    assert imagenet_wnids() == timm_lines("imagenet_synsets.txt")
    assert imagenet_wnids() == tuple(sorted(imagenet_wnids()))
    for name in ("imagenet", "imagenet-v2", "imagenet-sketch"):
        assert spec_of(name).labels == imagenet_wnids()
        assert spec_of(name).imagenet_labels == tuple((label,) for label in range(1000))


@pytest.mark.parametrize("letter", ["a", "r"])
def test_the_200_classes_of_imagenet_a_and_r(letter: str) -> None:
    spec = spec_of(f"imagenet-{letter}")
    assert spec.labels == timm_lines(f"imagenet_{letter}_synsets.txt")
    numbers = [str(label) for (label,) in spec.imagenet_labels or ()]
    assert tuple(numbers) == timm_lines(f"imagenet_{letter}_indices.txt")


def test_objectnets_classes_are_imagenets_of_the_same_name() -> None:
    """Where a name is a synonym of one ImageNet class alone, that is the class."""
    spec = spec_of("objectnet")
    of_word: dict[str, list[int]] = {}
    for label in range(1000):
        for word in synonyms(label):
            of_word.setdefault(word, []).append(label)
    n_found = 0
    for name, labels in zip(spec.classes, spec.imagenet_labels or (), strict=True):
        found = of_word.get(name, [])
        n_found += bool(found)
        assert set(found) <= set(labels), name
    assert n_found > 60


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("alarm clock", {"analog clock", "digital clock"}),
        ("bicycle", {"mountain bike", "bicycle-built-for-two"}),
        ("chair", {"barber chair", "folding chair", "rocking chair"}),
        ("dress", {"gown"}),
        ("helmet", {"football helmet", "crash helmet"}),
        ("pen", {"ballpoint", "quill", "fountain pen"}),
        ("skirt", {"hoopskirt", "miniskirt", "overskirt"}),
        ("still camera", {"polaroid camera", "reflex camera"}),
        ("tie", {"bow tie", "windsor tie"}),
        ("wheel", {"car wheel", "paddlewheel"}),
    ],
)
def test_an_objectnet_class_may_be_several_of_imagenets(name: str, words: set[str]) -> None:
    spec = spec_of("objectnet")
    labels = (spec.imagenet_labels or ())[spec.classes.index(name)]
    assert len(labels) == len(words)
    for word in words:
        assert sum(word in synonyms(label) for label in labels) == 1


def test_the_flowers_are_in_the_archives_order() -> None:
    """CLIP renamed three of torchvision's, and kept their places."""
    from zsd_ray.models.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    from torchvision.datasets import Flowers102

    pairs = zip(spec_of("flowers102").classes, Flowers102.classes, strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [
        ("globe flower", "globe-flower"),
        ("pink and yellow dahlia", "pink-yellow dahlia?"),
        ("air plant", "ball moss"),
    ]


@pytest.mark.parametrize(
    ("image_id", "shape", "texture"),
    [
        ("cat/cat7-elephant1.png", "cat", "elephant"),
        ("truck10-truck2.png", "truck", "truck"),
        ("0001_cue_dnn_bear_00_bear3-chair10.png", "bear", "chair"),
    ],
)
def test_the_cues_of_a_name(image_id: str, shape: str, texture: str) -> None:
    assert cues(image_id) == (shape, texture)


@given(
    shape=st.sampled_from(spec_of("cue-conflict").classes),
    texture=st.sampled_from(spec_of("cue-conflict").classes),
    numbers=st.tuples(st.integers(1, 99), st.integers(1, 99)),
    before=st.sampled_from(["", "{}/", "stimuli/{}/", "0012_s1_{}_00_"]),
)
def test_every_name_tells_its_cues(
    shape: str, texture: str, numbers: tuple[int, int], before: str
) -> None:
    name = f"{before.format(shape)}{shape}{numbers[0]}-{texture}{numbers[1]}.png"
    assert cues(name) == (shape, texture)


@pytest.mark.parametrize("image_id", ["cat7.png", "cat7-elephant1.jpg", "cat7-elephant1.png.x", ""])
def test_a_name_without_cues_is_refused(image_id: str) -> None:
    with pytest.raises(UserError, match=r"does not say its cues; .* SHAPEn-TEXTUREm\.png"):
        cues(image_id)


def test_the_real_cue_conflict_images(shared_data: Path) -> None:
    root = shared_data / "cue-conflict" / "images"
    dataset = open_dataset(DataConfig(source="cue-conflict", path=str(root)))
    assert len(dataset.records) == 160
    names = dataset.label_names or ()
    conflicts = 0
    for record in dataset.records:
        assert record.label is not None
        shape, texture = cues(record.image_id)
        assert shape == names[record.label] == Path(record.source).parent.name
        assert texture in names
        conflicts += shape != texture
    assert 100 < conflicts < 160
    assert dataset.read(0).size == (224, 224)


def test_real_imagenet_files_named_after_their_wnid(shared_data: Path) -> None:
    root = shared_data / "imagenet-samples"
    dataset = open_dataset(DataConfig(source="imagenet", path=str(root)))
    assert len(dataset.records) == 62
    assert len(dataset.label_names or ()) == 1000
    for index, record in enumerate(dataset.records):
        assert record.label is not None
        assert record.image_id.partition("/")[0] == imagenet_wnids()[record.label]
        name = record.image_id.partition("_")[2].removesuffix(".JPEG").replace("_", " ").lower()
        assert name in synonyms(record.label) | {"crane", "maillot"}
        if index % 10 == 0:
            stored = np.asarray(Image.open(record.source))
            np.testing.assert_array_equal(np.asarray(dataset.read(index)), stored)
