"""Our own scenes: what is drawn is what is said, and nothing of it moves."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zsd_ray.config.data import DataConfig
from zsd_ray.data.captioned.attribute_binding import TASKS, VALUES
from zsd_ray.data.captioned.captions import CaptionedDataset, DescribedDataset
from zsd_ray.data.captioned.solids import SIDE, Solid, draw
from zsd_ray.data.captioned.two_objects import (
    N_SCENES,
    TwoObjects,
    TwoObjectsTask,
    picture_of,
    scene_of,
)
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError


def levels(split: Any, number: int) -> np.ndarray[Any, Any]:
    return np.asarray(picture_of(split, number)).astype(int)


def test_the_splits_are_as_large_as_documented_and_share_no_scene() -> None:
    ids = {split: {r.image_id for r in TwoObjects(split).records} for split in ("train", "test")}
    assert (len(ids["train"]), len(ids["test"])) == (20_000, 1_000)
    assert not ids["train"] & ids["test"]
    first = [[scene_of(split, n) for n in range(100)] for split in ("train", "test")]
    assert first[0] != first[1]


def test_the_scenes_are_fixed() -> None:
    """Published numbers rest on them."""
    scenes = repr([scene_of("test", number) for number in range(N_SCENES["test"])])
    assert hashlib.sha256(scenes.encode()).hexdigest()[:16] == "3d1f6855f56e0779"
    pixels = b"".join(picture_of("test", number).tobytes() for number in range(20))
    assert hashlib.sha256(pixels).hexdigest()[:16] == "c3463b9893709c65"


def test_every_combination_is_as_likely() -> None:
    scenes = [scene_of("train", number) for number in range(N_SCENES["train"])]
    found = Counter(tuple((o.shape, o.color, o.size) for o in scene) for scene in scenes)
    n = 3 * 2 * 8 * 7 * 2 * 2
    assert len(found) == n
    expected = len(scenes) / n
    chi_square = sum((count - expected) ** 2 / expected for count in found.values())
    assert abs(chi_square - n) < 5 * (2 * n) ** 0.5
    for left, right in scenes:
        assert (left.left, right.left) == (True, False)
        assert left.shape != right.shape
        assert left.color != right.color


def object_in(half: np.ndarray[Any, Any], ground: int) -> np.ndarray[Any, Any]:
    """Where pixels are not of the ground."""
    return np.abs(half - ground).max(axis=2) > 8


@pytest.mark.few(4)
@pytest.mark.parametrize("number", range(60))
def test_each_half_shows_its_object_in_its_colour_and_size(number: int) -> None:
    picture = levels("test", number)
    ground = int(picture[0, 0, 0])
    for thing, half in zip(scene_of("test", number), np.split(picture, 2, axis=1), strict=True):
        inside = object_in(half, ground)
        ys, _ = np.nonzero(inside)
        height = ys.max() - ys.min() + 1
        assert (height > 10) == (thing.size == "large")
        assert ys.min() > 0
        assert ys.max() < SIDE - 1
        assert nearest_colour(half[inside]) == thing.color


def nearest_colour(pixels: np.ndarray[Any, Any]) -> str:
    """By the direction of the median colour, and where it is grey by that alone."""
    rgb = {
        "red": (173, 35, 35), "blue": (42, 75, 215), "green": (29, 105, 20), "brown": (129, 74, 25),
        "purple": (129, 38, 192), "cyan": (41, 208, 208), "yellow": (255, 238, 51),
        "gray": (87, 87, 87),
    }  # fmt: skip
    own = np.median(pixels, axis=0)
    own = own / np.linalg.norm(own)
    return max(rgb, key=lambda name: own @ np.array(rgb[name]) / np.linalg.norm(rgb[name]))


@pytest.mark.parametrize("size", [3.4, 6.4])
def test_the_shapes_fill_their_boxes_differently(size: float) -> None:
    """A can is taller than wide; a ball leaves the corners of its box free."""
    filled, ratio = {}, {}
    for shape in VALUES["shape"]:
        picture = np.asarray(draw([Solid(shape, (173, 35, 35), 16, 16, size)], 200)).astype(int)
        ys, xs = np.nonzero(object_in(picture, 200))
        box = (ys.max() - ys.min() + 1, xs.max() - xs.min() + 1)
        filled[shape], ratio[shape] = len(ys) / (box[0] * box[1]), box[0] / box[1]
    assert ratio["cylinder"] > 1.25
    assert ratio["cube"] == ratio["sphere"] == 1
    assert filled["sphere"] < filled["cube"] - 0.04


def test_light_comes_from_above() -> None:
    for shape in VALUES["shape"]:
        picture = np.asarray(draw([Solid(shape, (87, 87, 87), 16, 16, 10)], 250)).astype(int)
        column = picture[:, 15, 0]
        inside = column[column < 200]
        assert inside[1] > inside[-2]


def test_objects_vary_in_their_place_and_never_touch() -> None:
    places = {"left": set(), "right": set()}
    for number in range(200):
        picture = levels("train", number)
        ground = int(picture[0, 0, 0])
        assert 185 <= ground <= 215
        inside = object_in(picture, ground)
        for name, half in zip(places, np.split(inside, 2, axis=1), strict=True):
            ys, xs = np.nonzero(half)
            places[name].add((int(ys.mean()), int(xs.mean())))
    assert all(len(found) > 30 for found in places.values())


def test_without_a_task_there_is_no_question() -> None:
    dataset = open_dataset(DataConfig(source="two-objects", split="train"))
    assert not isinstance(dataset, CaptionedDataset)
    assert isinstance(dataset, DescribedDataset)
    assert all(record.label is None for record in list(dataset.records)[:50])


@pytest.mark.few(2)
@pytest.mark.parametrize("name", TASKS)
def test_a_task_asks_what_is_true_of_its_scenes(name: str) -> None:
    dataset = open_dataset(DataConfig(source="two-objects", task=name))
    assert isinstance(dataset, CaptionedDataset)
    assert isinstance(dataset, TwoObjectsTask)
    same_size = sum(a.size == b.size for a, b in (scene_of("test", n) for n in range(1000)))
    assert len(dataset.records) == (1000 - same_size if "size" in name else 1000)
    texts, choices = dataset.captions.texts, dataset.captions.choices
    for index, record in enumerate(dataset.records):
        number = int(record.image_id.rpartition("/")[2])
        positive, negative = TASKS[name].prompts(scene_of("test", number), record.image_id)
        assert {texts[choice] for choice in choices[index]} == {positive, negative}
        assert record.label is not None
        assert texts[record.label] == positive
        assert positive in dataset.true_captions(index)
        assert negative not in dataset.true_captions(index)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", TASKS)
def test_the_order_of_captions_does_not_tell_the_right_one(name: str) -> None:
    dataset = TwoObjectsTask("test", name)
    n = len(dataset.records)
    for own in (dataset.captions.choices, np.sort(dataset.captions.choices, axis=1)):
        labels = [record.label for record in dataset.records]
        assert np.mean(own[:, 0] == labels) == pytest.approx(0.5, abs=4 * 0.5 / n**0.5)


def test_a_task_keeps_each_picture_with_its_scene(travel: Callable[[Any], Any]) -> None:
    """Numbers move where scenes are left out."""
    dataset = travel(TwoObjectsTask("test", "size|color"))
    for index in range(0, len(dataset.records), 40):
        number = int(dataset.records[index].image_id.rpartition("/")[2])
        assert dataset.read(index).tobytes() == picture_of("test", number).tobytes()


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UserError, match="has no task 'colour'; choose one of: shape, color"):
        open_dataset(DataConfig(source="two-objects", task="colour"))
