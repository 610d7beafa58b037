"""Attribute binding: the tasks of Clark & Jaini 2023, table 3, from scenes of two objects.

An image shows two objects that differ in shape and color. A task asks which of two prompts
describes it; both are made from the objects of the scene, by the rules of appendix D. Their random
choices are functions of the task and the scene's id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, TypeAlias, TypeVar

from zsd_ray.data.captioned.captions import CaptionTable
from zsd_ray.records.errors import UserError

T = TypeVar("T")

VALUES = {
    "shape": ("cube", "sphere", "cylinder"),
    "color": ("blue", "cyan", "brown", "gray", "green", "purple", "red", "yellow"),
    "size": ("small", "large"),
    "position": ("left", "right"),
}
"""What each attribute can be, in CLEVR's words."""

_PREFERENCE = ("position", "shape", "color", "size")
_PAIRS = tuple(combinations(VALUES, 2))


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One of the two objects of a scene; `left` says which."""

    shape: str
    color: str
    size: str
    left: bool

    @property
    def position(self) -> str:
        return "left" if self.left else "right"


Scene: TypeAlias = tuple[SceneObject, SceneObject]
"""The left one first."""


class Prompts(NamedTuple):
    """A prompt that describes the scene, and one that does not."""

    positive: str
    negative: str


@dataclass(frozen=True)
class BindingTask:
    """A row of table 3.

    name: as in data.task.
    attributes: stated by the prompts; asked: the one that is wrong in the negative prompt, None if
        that states both objects and swaps one attribute between them.
    """

    name: str
    attributes: tuple[str, ...]
    asked: str | None

    def suits(self, scene: Scene) -> bool:
        """Whether the task may ask about a scene; objects of one size cannot be asked for their
        sizes."""
        return is_relational(scene) and (
            "size" not in self.attributes or scene[0].size != scene[1].size
        )

    def prompts(self, scene: Scene, scene_id: str) -> Prompts:
        """Return the two prompts for a suitable scene."""
        if self.asked is None:
            return self._of_both(scene)
        shown = _choose(scene, f"object of {self.name} in {scene_id}")
        if len(self.attributes) == 1:
            seen = {getattr(each, self.asked) for each in scene}
            absent = [value for value in VALUES[self.asked] if value not in seen]
            wrong = _choose(absent, f"value of {self.name} in {scene_id}")
        else:
            other = scene[1] if shown == scene[0] else scene[0]
            wrong = getattr(other, self.asked)
        stated = _stated(shown, self.attributes)
        return Prompts(describe(stated), describe({**stated, self.asked: wrong}))

    def _of_both(self, scene: Scene) -> Prompts:
        """Return the prompts that state both objects. Swapping either attribute states the same two
        wrong objects; of their orders, the one with the leftmost value of the preferred attribute
        first is used, so that attribute stays and the other moves.
        """
        left, right = (_stated(each, self.attributes) for each in scene)
        moved = max(self.attributes, key=_PREFERENCE.index)
        return Prompts(
            describe_both(left, right),
            describe_both({**left, moved: right[moved]}, {**right, moved: left[moved]}),
        )


def _tasks() -> Iterator[BindingTask]:
    for name in ("shape", "color"):
        yield BindingTask(name, (name,), asked=name)
    for x, y in _PAIRS:
        yield BindingTask(f"{x},{y}", (x, y), asked=None)
        yield BindingTask(f"{x}|{y}", (x, y), asked=x)
        yield BindingTask(f"{y}|{x}", (x, y), asked=y)


TASKS = {task.name: task for task in _tasks()}
"""The 20 rows of table 3, in its order: recognition, then X,Y, X|Y and Y|X of each two
attributes."""


def find_task(name: str | None, source: str) -> BindingTask:
    """Return the task that data.task names; raises UserError if there is none."""
    task = None if name is None else TASKS.get(name)
    if task is None:
        came = "has no data.task" if name is None else f"has no task {name!r}"
        raise UserError(f"data.source {source} {came}; choose one of: {', '.join(TASKS)}")
    return task


def is_relational(objects: Sequence[SceneObject]) -> bool:
    """Whether the tasks can be about a scene: two objects that differ in shape and color."""
    if len(objects) != 2:
        return False
    one, two = objects
    return one.shape != two.shape and one.color != two.color and one.left and not two.left


def as_question(prompts: Sequence[Prompts]) -> tuple[CaptionTable, list[int | None]]:
    """Return the captions of each image, and its label.

    They are in the order of their texts: if the right one always came first, breaking ties by order
        would count as right.
    """
    table = CaptionTable.of(map(sorted, prompts))
    return table, table.labels(each.positive for each in prompts)


def describe(stated: dict[str, str]) -> str:
    """Describe an object by some of its attributes."""
    position = stated.get("position")
    start = "A" if position is None else f"On the {position} is a"
    qualities = [stated[name] for name in ("size", "color") if name in stated]
    return " ".join([start, *qualities, stated.get("shape", "object")]) + "."


def describe_both(first: dict[str, str], second: dict[str, str]) -> str:
    """Describe two objects in one sentence."""
    one, two = describe(first), describe(second)
    return f"{one.removesuffix('.')} and {two[0].lower()}{two[1:]}"


def true_captions(scene: Scene) -> list[str]:
    """Return every prompt of the tasks' forms that is true of a scene: both objects, then
    either."""
    left, right = scene
    both = [describe_both(_stated(left, pair), _stated(right, pair)) for pair in _PAIRS]
    sets = [*_PAIRS, ("shape",), ("color",)]
    return both + [describe(_stated(each, names)) for names in sets for each in scene]


def _stated(thing: SceneObject, attributes: Sequence[str]) -> dict[str, str]:
    return {name: getattr(thing, name) for name in attributes}


def _choose(among: Sequence[T], key: str) -> T:
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return among[int.from_bytes(digest) % len(among)]
