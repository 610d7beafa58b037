"""The rules of Clark & Jaini 2023, appendix D, held against the paper's own prompts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.data.captioned.attribute_binding import (
    TASKS,
    VALUES,
    Scene,
    SceneObject,
    find_task,
    true_captions,
)
from zsd_ray.records.errors import UserError

FIGURE_4: Scene = (
    SceneObject("sphere", "yellow", "small", left=True),
    SceneObject("cube", "gray", "large", left=False),
)
TABLE_3 = [
    "shape", "color",
    "shape,color", "shape|color", "color|shape",
    "shape,size", "shape|size", "size|shape",
    "shape,position", "shape|position", "position|shape",
    "color,size", "color|size", "size|color",
    "color,position", "color|position", "position|color",
    "size,position", "size|position", "position|size",
]  # fmt: skip
BOTH = [name for name in TABLE_3 if "," in name]
OF_ONE = [name for name in TABLE_3 if "," not in name]


def outcomes(task: str, scene: Scene) -> set[tuple[str, str]]:
    """What the task asks of a scene under many ids."""
    return {tuple(TASKS[task].prompts(scene, f"scene {i}")) for i in range(200)}


def test_the_tasks_are_the_rows_of_table_3() -> None:
    assert list(TASKS) == TABLE_3


PRINTED = {
    "shape": ("A sphere.", "A cylinder."),
    "color": ("A gray object.", "A red object."),
    "color|shape": ("A yellow sphere.", "A gray sphere."),
    "color|position": (
        "On the right is a gray object.",
        "On the right is a yellow object.",
    ),
    "shape,size": (
        "A small sphere and a large cube.",
        "A large sphere and a small cube.",
    ),
    "color,size": (
        "A small yellow object and a large gray object.",
        "A large yellow object and a small gray object.",
    ),
}


@pytest.mark.parametrize("task", PRINTED)
def test_the_papers_examples_word_for_word(task: str) -> None:
    assert PRINTED[task] in outcomes(task, FIGURE_4)


def test_the_left_one_comes_first_whatever_is_swapped() -> None:
    positive, negative = TASKS["shape,position"].prompts(FIGURE_4, "any")
    assert positive == "On the left is a sphere and on the right is a cube."
    assert negative == "On the left is a cube and on the right is a sphere."


def test_all_that_a_task_may_ask_of_one_scene() -> None:
    """Either object may be shown, and in recognition any value that is absent."""
    assert outcomes("shape", FIGURE_4) == {
        ("A sphere.", "A cylinder."),
        ("A cube.", "A cylinder."),
    }
    absent = set(VALUES["color"]) - {"yellow", "gray"}
    assert outcomes("color", FIGURE_4) == {
        (f"A {shown} object.", f"A {other} object.")
        for shown in ("yellow", "gray")
        for other in absent
    }
    assert outcomes("shape|color", FIGURE_4) == {
        ("A yellow sphere.", "A yellow cube."),
        ("A gray cube.", "A gray sphere."),
    }
    assert outcomes("position|size", FIGURE_4) == {
        ("On the left is a small object.", "On the right is a small object."),
        ("On the right is a large object.", "On the left is a large object."),
    }
    assert all(len(outcomes(task, FIGURE_4)) == 1 for task in BOTH)


def test_what_chance_chooses_is_fixed() -> None:
    """Results rest on it: the same prompts on every machine, in every version."""
    found = [TASKS[task].prompts(FIGURE_4, "two-objects/test/0000") for task in OF_ONE[:4]]
    assert found == [
        ("A cube.", "A cylinder."),
        ("A yellow object.", "A green object."),
        ("A gray cube.", "A gray sphere."),
        ("A gray cube.", "A yellow cube."),
    ]


_OBJECT = re.compile(
    r"^(?:on the (?P<position>left|right) is )?a (?:(?P<size>small|large) )?"
    r"(?:(?P<color>[a-z]+) )?(?P<shape>cube|sphere|cylinder|object)$"
)


def claims(prompt: str) -> list[dict[str, str]]:
    """What a prompt says of each object that it names, read without the code that wrote it."""
    assert prompt.endswith(".")
    assert prompt[0].isupper()
    assert prompt[1:] == prompt[1:].lower()
    found = []
    for part in prompt.lower().removesuffix(".").split(" and "):
        match = _OBJECT.match(part)
        assert match, part
        said = {name: value for name, value in match.groupdict().items() if value is not None}
        if said["shape"] == "object":
            del said["shape"]
        found.append(said)
    return found


def holds(said: dict[str, str], thing: SceneObject) -> bool:
    return all(getattr(thing, name) == value for name, value in said.items())


def describes(prompt: str, scene: Scene) -> bool:
    """Whether each object that the prompt names is in the scene, and no two are the same."""
    said = claims(prompt)
    if len(said) == 1:
        return any(holds(said[0], thing) for thing in scene)
    return any(holds(said[0], one) and holds(said[1], other) for one, other in (scene, scene[::-1]))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Any two objects, also those that no task is about."""
    return tuple(  # type: ignore[return-value]
        SceneObject(
            *(draw(st.sampled_from(VALUES[name])) for name in ("shape", "color", "size")), left
        )
        for left in (True, False)
    )


@given(scenes(), st.sampled_from(TABLE_3), st.text())
def test_the_positive_prompt_describes_the_scene_and_the_negative_does_not(
    scene: Scene, name: str, scene_id: str
) -> None:
    task = TASKS[name]
    if not task.suits(scene):
        return
    positive, negative = task.prompts(scene, scene_id)
    assert describes(positive, scene)
    assert not describes(negative, scene)
    for prompt in (positive, negative):
        assert all(set(said) == set(task.attributes) for said in claims(prompt))


@given(scenes(), st.sampled_from(TABLE_3), st.text())
def test_prompts_differ_in_what_is_asked_alone(scene: Scene, name: str, scene_id: str) -> None:
    task = TASKS[name]
    if not task.suits(scene):
        return
    pairs = zip(*map(claims, task.prompts(scene, scene_id)), strict=True)
    for said, other in pairs:
        moved = {key for key in said if said[key] != other[key]}
        assert len(moved) == 1
        assert task.asked is None or moved == {task.asked}


@given(scenes(), st.sampled_from(BOTH))
def test_both_prompts_start_with_the_leftmost_value_of_the_preferred_attribute(
    scene: Scene, name: str
) -> None:
    task = TASKS[name]
    if not task.suits(scene):
        return
    preferred = next(a for a in ("position", "shape", "color", "size") if a in task.attributes)
    for prompt in task.prompts(scene, "any"):
        first, second = claims(prompt)
        assert first[preferred] == getattr(scene[0], preferred)
        assert second[preferred] == getattr(scene[1], preferred)


@given(scenes())
def test_what_a_task_may_ask_about(scene: Scene) -> None:
    left, right = scene
    relational = left.shape != right.shape and left.color != right.color
    for name, task in TASKS.items():
        assert task.suits(scene) == (relational and ("size" not in name or left.size != right.size))
    one_place = (left, SceneObject(right.shape, right.color, right.size, left=True))
    assert not TASKS["shape"].suits(one_place)
    assert not TASKS["shape"].suits(scene[::-1])


def test_chance_shows_either_object_and_each_value_as_often() -> None:
    found = [TASKS["color"].prompts(FIGURE_4, f"{i}") for i in range(3000)]
    shown = [positive for positive, _ in found].count("A gray object.")
    assert shown == pytest.approx(1500, abs=4 * 3000**0.5 / 2)
    wrong = [negative for _, negative in found]
    for prompt in set(wrong):
        assert wrong.count(prompt) == pytest.approx(500, abs=4 * (3000 * 5 / 36) ** 0.5)


def test_tasks_choose_by_themselves() -> None:
    """Were the object the same in all tasks, their accuracies would move together."""
    same = sum(
        TASKS["shape|color"].prompts(FIGURE_4, f"{i}").positive.startswith("A yellow")
        == TASKS["color|shape"].prompts(FIGURE_4, f"{i}").positive.startswith("A yellow")
        for i in range(400)
    )
    assert same == pytest.approx(200, abs=40)


@given(scenes())
def test_true_captions_are_true_and_every_positive_prompt_is_among_them(scene: Scene) -> None:
    captions = true_captions(scene)
    assert all(describes(caption, scene) for caption in captions)
    assert len(captions) == 6 + 2 * 8
    for task in TASKS.values():
        if task.suits(scene):
            assert task.prompts(scene, "any").positive in captions


@pytest.mark.parametrize(
    ("name", "came"), [(None, "has no data.task"), ("shape, color", "has no task 'shape, color'")]
)
def test_an_unknown_task_is_told_those_that_are_there(name: str | None, came: str) -> None:
    with pytest.raises(UserError, match=came) as caught:
        find_task(name, "two-objects")
    assert all(task in str(caught.value) for task in TABLE_3)
