"""Binding tasks about rendered scenes, in the format of CLEVR (Johnson et al. 2017)."""

from __future__ import annotations

import posixpath
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from zsd_ray.data.captioned.attribute_binding import (
    VALUES,
    BindingTask,
    Prompts,
    Scene,
    SceneObject,
    as_question,
    find_task,
    is_relational,
)
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.decoding import decode
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import UserError, some
from zsd_ray.settings.documents import is_utf8, parse_json

_STATED = ("shape", "color", "size")


class ClevrBinding:
    """A folder with images/ and scenes/, for a task of Clark & Jaini.

    Each JSON file in scenes/ is one scene, or holds many under `scenes`, as CLEVR's own do. Scenes
    that do not suit the task are left out, with a warning that says how many: those that are not of
    two objects, different in shape and color, and where it is about size those of one size. The
    object with the lower x of `pixel_coords` is the left one. An image's id is its file's name.

    Raises:
        UserError: no such task or files, an invalid scene, or no suitable one.
    """

    label_names = None

    def __init__(self, path: str | Location, task: str | None) -> None:
        asked = find_task(task, "clevr-binding")
        self._location = Location.of(path)
        shown = self._location.shown
        with self._location.user_errors(f"data.path {shown}"):
            files = self._location.files()
        place_of = _images(files, shown)
        prompts = self._prompts([name for name in files if name.startswith("scenes/")], asked)
        missing = [name for name in prompts if name not in place_of]
        if missing:
            raise UserError(
                f"data.path {shown} lacks {len(missing)} of the {len(prompts)} images that its "
                f"scenes name ({some(missing)}); put them into images/"
            )
        self._places = [place_of[name] for name in prompts]
        self.captions, labels = as_question(list(prompts.values()))
        sources = [f"{shown}/{place}" for place in self._places]
        self.records = RecordTable(list(prompts), sources, labels)

    def read(self, index: int) -> Image.Image:
        source = self.records[index].source
        with self._location.image_errors(source):
            data = self._location.read_bytes(self._location.join(self._places[index]))
        return decode(data, source)

    def _scenes(self, name: str) -> Iterator[Mapping[str, Any]]:
        file = f"{self._location.shown}/{name}"
        with self._location.user_errors(file):
            data = self._location.read_bytes(self._location.join(name))
        content = parse_json(data, file)
        scenes = content.get("scenes", [content]) if isinstance(content, dict) else None
        if not isinstance(scenes, list):
            raise UserError(f"{file}: it holds no scene, and no list of them under `scenes`")
        for scene in scenes:
            known = isinstance(scene, dict) and isinstance(scene.get("objects"), list)
            if not known or "image_filename" not in scene:
                raise UserError(f"{file}: a scene has `image_filename`, and a list of `objects`")
            yield scene

    def _prompts(self, files: Sequence[str], asked: BindingTask) -> dict[str, Prompts]:
        """Return the prompts for each image that suits the task."""
        shown = self._location.shown
        found: dict[str, Prompts] = {}
        n_scenes = 0
        for file in files:
            for description in self._scenes(file) if file.endswith(".json") else ():
                n_scenes += 1
                name = str(description["image_filename"])
                if not is_utf8(name):
                    raise UserError(f"{shown}/{file}: the image_filename {name!a:.80} is no text")
                scene = _scene(description, f"{shown}/{file}, {name}")
                if scene is None or not asked.suits(scene):
                    continue
                if name in found:
                    raise UserError(f"data.path {shown} has two scenes of the image {name}")
                found[name] = asked.prompts(scene, name)
        wanted = f"task {asked.name} takes two objects, different in shape and color" + (
            " and in size" if "size" in asked.attributes else ""
        )
        if not found:
            raise UserError(
                f"data.path {shown} has {n_scenes} scenes in scenes/*.json, and none suits: "
                f"{wanted} (CLEVR's own images have 3 to 10 objects; render some of two with its "
                "generator, or take source two-objects)"
            )
        if len(found) < n_scenes:
            warnings.warn(
                f"{n_scenes - len(found)} of {n_scenes} scenes of data.path {shown} are left out: "
                f"{wanted}",
                stacklevel=3,
            )
        return found


def _images(files: list[str], shown: str) -> dict[str, str]:
    """Return the path of each image by its name; CLEVR's own have one folder per split."""
    places = [name for name in files if name.startswith("images/")]
    place_of = {posixpath.basename(place): place for place in places}
    if len(place_of) < len(places):
        raise UserError(f"data.path {shown} has images of one name in several folders of images/")
    return place_of


def _scene(description: Mapping[str, Any], where: str) -> Scene | None:
    """Return the objects of a scene, if the tasks can be about it."""
    if len(description["objects"]) != 2:
        return None
    try:
        things = sorted(description["objects"], key=lambda thing: float(thing["pixel_coords"][0]))
        apart = things[0]["pixel_coords"][0] < things[1]["pixel_coords"][0]
        shapes, colors, sizes = ([str(thing[name]) for thing in things] for name in _STATED)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{where}: an object has {', '.join(_STATED)}, pixel_coords") from error
    for name, values in zip(_STATED, (shapes, colors, sizes), strict=True):
        odd = next((value for value in values if value not in VALUES[name]), None)
        if odd is not None:
            raise UserError(f"{where}: {name} {odd!r} is none of {', '.join(VALUES[name])}")
    scene = (
        SceneObject(shapes[0], colors[0], sizes[0], left=True),
        SceneObject(shapes[1], colors[1], sizes[1], left=not apart),
    )
    return scene if is_relational(scene) else None
