"""CLEVR scenes: both layouts of the files, and what is left out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from zsd_ray.config.data import DataConfig
from zsd_ray.data.captioned.attribute_binding import TASKS, SceneObject
from zsd_ray.data.captioned.clevr import ClevrBinding
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import ImageError, UserError

Thing = dict[str, Any]


def thing(shape: str, color: str, size: str, x: float) -> Thing:
    return {
        "shape": shape, "color": color, "size": size, "material": "rubber",
        "pixel_coords": [x, 100, 9.5], "3d_coords": [0, 0, 0.35], "rotation": 3.1,
    }  # fmt: skip


SPHERE, CUBE = thing("sphere", "yellow", "small", 80), thing("cube", "gray", "large", 210)
SCENES = {
    "CLEVR_a.png": [CUBE, SPHERE],  # the right one is listed first
    "CLEVR_b.png": [thing("cylinder", "red", "large", 50), thing("cube", "blue", "large", 150)],
    "CLEVR_c.png": [SPHERE, thing("sphere", "gray", "large", 210)],  # one shape
    "CLEVR_d.png": [SPHERE, thing("cube", "yellow", "large", 210)],  # one colour
    "CLEVR_e.png": [SPHERE, CUBE, thing("cylinder", "red", "small", 120)],
    "CLEVR_f.png": [SPHERE],
    "CLEVR_g.png": [SPHERE, thing("cube", "gray", "large", 80)],  # one above the other
}


def description(name: str, things: list[Thing]) -> dict[str, Any]:
    return {"image_filename": name, "image_index": 0, "objects": things, "relationships": {}}


@pytest.fixture
def write(picture: Callable[..., Image.Image], tmp_path: Path) -> Callable[..., str]:
    """write(scenes, official): a folder of CLEVR's, in either layout."""

    def make(scenes: dict[str, list[Thing]] = SCENES, official: bool = False) -> str:
        images = tmp_path / "images" / ("val" if official else "")
        images.mkdir(parents=True)
        (tmp_path / "scenes").mkdir()
        for seed, name in enumerate(scenes):
            picture(seed).save(images / name)
        every = [description(name, things) for name, things in scenes.items()]
        if official:
            content = json.dumps({"info": {"split": "val"}, "scenes": every})
            (tmp_path / "scenes" / "CLEVR_val_scenes.json").write_text(content)
        else:
            for each in every:
                file = tmp_path / "scenes" / each["image_filename"].replace(".png", ".json")
                file.write_text(json.dumps(each))
        return str(tmp_path)

    return make


def read(path: str, task: str) -> ClevrBinding:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ClevrBinding(path, task)


@pytest.mark.parametrize("official", [False, True])
def test_both_layouts_give_the_same(write: Callable[..., str], official: bool) -> None:
    dataset = read(write(official=official), "shape,color")
    assert [record.image_id for record in dataset.records] == ["CLEVR_a.png", "CLEVR_b.png"]
    texts = dataset.captions.texts
    assert [texts[record.label or 0] for record in dataset.records] == [
        "A yellow sphere and a gray cube.",
        "A red cylinder and a blue cube.",
    ]
    own = [{texts[number] for number in row} for row in dataset.captions.choices]
    assert own == [
        {"A yellow sphere and a gray cube.", "A gray sphere and a yellow cube."},
        {"A red cylinder and a blue cube.", "A blue cylinder and a red cube."},
    ]


@pytest.mark.parametrize("official", [False, True])
def test_each_image_is_that_of_its_scene(
    write: Callable[..., str], picture: Callable[..., Image.Image], official: bool
) -> None:
    dataset = read(write(official=official), "shape")
    for index in range(2):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), np.asarray(picture(index)))


def test_prompts_are_those_of_the_task_by_the_images_name(write: Callable[..., str]) -> None:
    path = write()
    scene = (
        SceneObject("sphere", "yellow", "small", left=True),
        SceneObject("cube", "gray", "large", left=False),
    )
    for name, task in TASKS.items():
        dataset = read(path, name)
        positive, negative = task.prompts(scene, "CLEVR_a.png")
        texts = dataset.captions.texts
        assert {texts[number] for number in dataset.captions.choices[0]} == {positive, negative}
        assert texts[dataset.records[0].label or 0] == positive


def test_what_is_left_out_is_counted(write: Callable[..., str]) -> None:
    path = write()
    with pytest.warns(UserWarning, match=r"^5 of 7 scenes .* task shape .* shape and color$"):
        assert len(ClevrBinding(path, "shape").records) == 2
    with pytest.warns(UserWarning, match=r"^6 of 7 scenes .* shape and color and in size$"):
        assert len(ClevrBinding(path, "size|shape").records) == 1


def test_nothing_is_said_where_every_scene_is_asked(write: Callable[..., str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ClevrBinding(write({"a.png": [CUBE, SPHERE]}), "shape")


def test_it_reads_from_a_remote_store(
    write: Callable[..., str], memory: str, travel: Callable[[Any], Any]
) -> None:
    local = write()
    fsspec.filesystem("memory").put(f"{local}/", "/bucket/data", recursive=True)
    dataset = travel(read(memory, "color"))
    assert [record.image_id for record in dataset.records] == ["CLEVR_a.png", "CLEVR_b.png"]
    assert dataset.read(1).size == (9, 7)
    fsspec.filesystem("memory").rm("/bucket/data/images/CLEVR_b.png")
    with pytest.raises(ImageError, match=r"memory://bucket/data/images/CLEVR_b\.png"):
        dataset.read(1)


def test_mistakes_are_told(write: Callable[..., str], tmp_path: Path) -> None:
    path = write({"a.png": [CUBE, SPHERE], "b.png": [SPHERE, CUBE]})
    scene = tmp_path / "scenes" / "a.json"

    def refused(words: str, task: str | None = "shape") -> None:
        with pytest.raises(UserError, match=words):
            open_dataset(DataConfig(source="clevr-binding", path=path, task=task))

    refused("clevr-binding has no data.task; choose one of: shape, color, shape,color", None)
    (tmp_path / "images" / "b.png").rename(tmp_path / "images" / "c.png")
    refused(r"lacks 1 of the 2 images that its scenes name \(b\.png\); put them into images/")
    scene.write_text(json.dumps(description("a.png", [SPHERE, thing("cone", "gray", "large", 9)])))
    refused(r"a\.json, a\.png: shape 'cone' is none of cube, sphere, cylinder")
    scene.write_text(json.dumps(description("b.png", [CUBE, SPHERE])))
    refused(r"has two scenes of the image b\.png")
    scene.write_text(json.dumps(description("a.png", [SPHERE, {"shape": "cube"}])))
    refused("an object has shape, color, size, pixel_coords")
    scene.write_text('{"objects": []}')
    refused(r"a\.json: a scene has `image_filename`, and a list of `objects`")
    scene.write_text('{"image_filename": "a.png", "objects": 2}')
    refused(r"a\.json: a scene has")
    scene.write_text("[]")
    refused(r"a\.json: it holds no scene")
    scene.write_text("{")
    refused(r"a\.json is not valid JSON")
    scene.write_text(json.dumps(description("\ud800", [CUBE, SPHERE])))
    refused(r"a\.json: the image_filename '.ud800' is no text")
    huge = CUBE | {"pixel_coords": [10**400, 1, 1]}
    scene.write_text(json.dumps(description("a.png", [huge, SPHERE])))
    refused("an object has shape, color, size, pixel_coords")
    scene.unlink()
    (tmp_path / "scenes" / "b.json").unlink()
    refused(r"has 0 scenes in scenes/\*\.json, and none suits")
    (tmp_path / "images" / "more").mkdir()
    (tmp_path / "images" / "more" / "a.png").touch()
    refused("images of one name in several folders")


def test_real_scenes_have_more_objects(shared_data: Path) -> None:
    """The ten at hand have 3 to 10: they are read, understood, and refused."""
    with pytest.raises(
        UserError, match=r"has 10 scenes .* none suits: task shape takes two objects"
    ):
        ClevrBinding(str(shared_data / "clevr"), "shape")


def test_a_real_scene_of_two_of_its_objects(shared_data: Path, tmp_path: Path) -> None:
    """CLEVR's own fields are understood, once a scene has but two of its objects."""
    name = "CLEVR_new_000000"
    scene = json.loads((shared_data / "clevr" / "scenes" / f"{name}.json").read_text())
    scene["objects"] = scene["objects"][:2]  # a small blue cube at x 206, a small brown sphere: 272
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / f"{name}.json").write_text(json.dumps(scene))
    (tmp_path / "images").symlink_to(shared_data / "clevr" / "images")
    dataset = ClevrBinding(str(tmp_path), "shape,position")
    texts = dataset.captions.texts
    assert texts[dataset.records[0].label or 0] == (
        "On the left is a cube and on the right is a sphere."
    )
    assert dataset.read(0).size == (320, 240)
