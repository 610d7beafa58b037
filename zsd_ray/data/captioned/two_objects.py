"""Scenes of two simple objects, drawn by this project, with CLEVR's words and colours.

They need no files, and all true captions are known. Everything about an image is a function of
its split and number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice, permutations, product, repeat
from typing import Literal

from PIL import Image

from zsd_ray.data.captioned.attribute_binding import (
    VALUES,
    Scene,
    SceneObject,
    as_question,
    find_task,
    true_captions,
)
from zsd_ray.data.captioned.solids import SIDE, Solid, draw
from zsd_ray.data.record_table import RecordTable

Split = Literal["train", "test"]

N_SCENES = {"train": 20_000, "test": 1_000}

# As CLEVR's own generator has them (Johnson et al. 2017).
_RGB = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
_HALF_HEIGHT = {"small": 3.4, "large": 6.4}
_JITTER = (1.5, 6.0)  # pixels to each side and up and down; objects stay whole and apart
_GROUNDS = range(185, 216)
_SCENES = tuple(
    product(
        permutations(VALUES["shape"], 2),
        permutations(VALUES["color"], 2),
        product(VALUES["size"], repeat=2),
    )
)


def open_two_objects(split: Split, task: str | None) -> TwoObjects:
    """Open all scenes of a split, or those that suit `task`; raises UserError."""
    return TwoObjects(split) if task is None else TwoObjectsTask(split, task)


class TwoObjects:
    """Images without a question, from which a model learns."""

    label_names = None

    def __init__(self, split: Split) -> None:
        self._split = split
        self._numbers: Sequence[int] = range(N_SCENES[split])
        self.records = self._list(repeat(None))

    def read(self, index: int) -> Image.Image:
        return picture_of(self._split, self._numbers[index])

    def true_captions(self, index: int) -> list[str]:
        """Return all prompts of the binding tasks that are true of an image."""
        return true_captions(scene_of(self._split, self._numbers[index]))

    def _list(self, labels: Iterable[int | None]) -> RecordTable:
        ids = [_id(self._split, number) for number in self._numbers]
        return RecordTable(ids, ids, islice(labels, len(ids)))


class TwoObjectsTask(TwoObjects):
    """The images that suit a task, with two prompts for each."""

    def __init__(self, split: Split, name: str) -> None:
        super().__init__(split)
        task = find_task(name, "two-objects")
        scenes = [scene_of(split, number) for number in self._numbers]
        self._numbers = [number for number, scene in enumerate(scenes) if task.suits(scene)]
        prompts = [task.prompts(scenes[n], _id(split, n)) for n in self._numbers]
        self.captions, labels = as_question(prompts)
        self.records = self._list(labels)


def scene_of(split: Split, number: int) -> Scene:
    """Return the objects of a scene; all combinations are equally likely."""
    pick = int.from_bytes(_chance(split, number)[:8])
    shapes, colors, sizes = _SCENES[pick % len(_SCENES)]
    left, right = (
        SceneObject(*of, left=place == 0)
        for place, of in enumerate(zip(shapes, colors, sizes, strict=True))
    )
    return left, right


def picture_of(split: Split, number: int) -> Image.Image:
    """Draw SIDE x SIDE pixels, RGB, with each object at a random place in its half."""
    chance = _chance(split, number)[8:]
    shifts = [int.from_bytes(chance[i : i + 2]) / 0xFFFF * 2 - 1 for i in range(0, 8, 2)]
    solids = [
        Solid(
            thing.shape,
            _RGB[thing.color],
            x=SIDE / 4 + place * SIDE / 2 + _JITTER[0] * shifts[2 * place],
            y=SIDE / 2 + _JITTER[1] * shifts[2 * place + 1],
            size=_HALF_HEIGHT[thing.size],
        )
        for place, thing in enumerate(scene_of(split, number))
    ]
    return draw(solids, _GROUNDS[chance[8] % len(_GROUNDS)])


def _id(split: Split, number: int) -> str:
    return f"two-objects/{split}/{number:05d}"


def _chance(split: Split, number: int) -> bytes:
    return hashlib.blake2b(_id(split, number).encode(), digest_size=32).digest()
