"""Trees of groups over the classes of a run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from zsd_ray.data.labels.class_tree import Level, parse_tree, read_tree
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

TREE = {"animal": {"pet": ["cat", "dog"], "wild": ["bear"]}, "vehicle": ["car", "bus"]}
CLASSES = ("car", "cat", "bus", "dog", "bear")


def refused(tree: Any, classes: Any = CLASSES) -> str:
    with pytest.raises(UserError) as caught:
        parse_tree(tree, classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_levels_are_in_the_order_of_the_file_and_classes_in_that_of_the_run() -> None:
    coarse, fine = parse_tree(TREE, CLASSES).levels
    assert coarse == Level(("animal", "vehicle"), (1, 0, 1, 0, 0))
    # A group of classes beside a divided one is a choice of the next level too.
    assert fine == Level(("pet", "wild", "vehicle"), (2, 0, 2, 0, 1))
    assert fine.groups_in(coarse) == (0, 0, 1)


@st.composite
def trees(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    """A tree of at least two groups with distinct names, and its classes in any order."""
    fresh = iter(range(1000))

    def node(depth: int) -> Any:
        if depth == 0 or draw(st.booleans()):
            return [f"class {next(fresh)}" for _ in range(draw(st.integers(1, 3)))]
        return groups(depth, 1)

    def groups(depth: int, least: int) -> dict[str, Any]:
        n = draw(st.integers(least, 3))
        return {f"group {next(fresh)}": node(depth - 1) for _ in range(n)}

    tree = groups(3, least=2)
    of = lineages(tree)
    assume(len(set(of.values())) < len(of))  # a tree of single classes is refused
    return tree, draw(st.permutations(list(of)))


def lineages(node: Any, above: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Each class and its groups, coarsest first: the plain reference."""
    if isinstance(node, list):
        return dict.fromkeys(node, above)
    found = {}
    for name, below in node.items():
        found |= lineages(below, (*above, name))
    return found


@given(trees())
def test_any_tree_puts_every_class_into_its_own_groups(case: tuple[Any, list[str]]) -> None:
    tree, classes = case
    levels = parse_tree(yaml.safe_load(yaml.safe_dump(tree)), classes).levels
    of = lineages(tree)
    assert len(levels) == max(map(len, of.values()))
    for depth, level in enumerate(levels):
        expected = [of[name][min(depth, len(of[name]) - 1)] for name in classes]
        assert [level.names[group] for group in level.of_class] == expected
        assert set(level.of_class) == set(range(len(level.names)))
    for above, below in pairwise(levels):
        for group, parent in enumerate(below.groups_in(above)):
            members = [k for k, g in enumerate(below.of_class) if g == group]
            assert {above.of_class[k] for k in members} == {parent}


@given(trees(), st.data())
def test_a_tree_without_one_of_the_classes_is_refused(
    case: tuple[Any, list[str]], data: st.DataObject
) -> None:
    tree, classes = case
    with pytest.raises(UserError, match=r"1 of the run's classes are missing \(left out\)"):
        parse_tree(tree, [*classes, "left out"])
    if len(classes) > 1:
        gone = data.draw(st.sampled_from(classes))
        with pytest.raises(UserError, match=rf"1 are no class of the run \({gone}\)"):
            parse_tree(tree, [name for name in classes if name != gone])


def test_what_is_wrong_with_the_classes_is_said_at_once() -> None:
    message = refused({"a": ["cat", "dog", "cat"], "b": ["fox", "emu"]})
    assert "lists 5 classes for a run of 5" in message
    assert "3 of the run's classes are missing (car, bus, bear)" in message
    assert "2 are no class of the run (emu, fox), 1 stand more than once (cat)" in message


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (None, "the file holds nothing"),
        ("animal", "the file holds 'animal'"),
        (["cat", "dog"], "needs names of groups at its top"),
        ({}, "the file is empty"),
        ({"animal": {"pet": []}}, "group animal/pet is empty"),
        ({"animal": {"pet": None}}, "group animal/pet holds nothing"),
        ({"animal": [["cat"]]}, "group animal holds ['cat'] where a name is due"),
        ({"animal": [False]}, "group animal holds False where a name is due (quote"),
        ({1.5: ["cat"]}, "the file holds 1.5 where a name is due"),
        ({"all": TREE}, "has one group at its top (all)"),
        ({"a": {"b": ["car", "cat"]}, "b": ["bus", "dog", "bear"]}, "names b more than once"),
        ({name: [name] for name in CLASSES}, "has a group of its own for each class"),
    ],
)
def test_no_tree_is_refused_with_the_place(tree: Any, words: str) -> None:
    assert words in refused(tree)


@given(trees(), st.integers(1, 2))
def test_no_image_is_scored_for_fewer_or_more_classes_than_is_said(
    case: tuple[Any, list[str]], top: int
) -> None:
    tree, classes = case
    found = parse_tree(tree, classes)
    assume(top < len(found.levels[0].names))
    costs = set(every_cost(lineages(tree), len(found.levels), top))
    assert found.race_sizes(top)[0][0] == found.race_sizes(top)[1][0] == len(tree)
    fewest, most = map(sum, found.race_sizes(top))
    assert fewest <= min(costs)
    assert max(costs) <= most
    if len(found.levels) == 1:
        assert (fewest, most) == (min(costs), max(costs))


def every_cost(of: dict[str, tuple[str, ...]], depth: int, top: int) -> Iterator[int]:
    """The scored groups and classes of every image that could be: the plain reference."""

    def descend(classes: list[str], level: int) -> Iterator[int]:
        if level == depth:
            yield len(classes) * (len(classes) > 1)
            return
        groups = {name: of[name][: level + 1] for name in classes}
        race = sorted(set(groups.values()))
        for chosen in combinations(race, min(top, len(race))):
            below = [name for name in classes if groups[name] in chosen]
            for cost in descend(below, level + 1):
                yield len(race) * (len(race) > 1) + cost

    return descend(list(of), 0)


def test_classes_of_one_name_are_refused() -> None:
    assert "names crane more than once" in refused({"a": ["crane"], "b": ["x"]}, ["crane"] * 2)


def test_a_file_that_holds_itself_is_refused() -> None:
    assert "more than 20 levels" in refused(yaml.safe_load("&all {again: *all}"))


def test_numbers_are_names() -> None:
    tree = parse_tree(yaml.safe_load("{round: [0, 8], 1: [7]}"), ["0", "7", "8"])
    assert tree.levels == (Level(("round", "1"), (0, 1, 0)),)
    assert tree.plain == {"round": ["0", "8"], "1": ["7"]}


def test_a_file_is_read(tmp_path: Any) -> None:
    path = tmp_path / "tree.yaml"
    path.write_text(yaml.safe_dump(TREE))
    assert read_tree(str(path), CLASSES, Store()) == parse_tree(TREE, CLASSES)


@pytest.mark.parametrize(
    ("content", "words"), [(b"{a: [", "is not valid YAML"), (b"\xff\xfe", "cannot read")]
)
def test_a_file_that_is_no_tree_is_refused_by_name(
    content: bytes, words: str, tmp_path: Any
) -> None:
    path = tmp_path / "tree.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"tree\.yaml.* ?{words}|{words}.*tree\.yaml"):
        read_tree(str(path), CLASSES, Store())
    with pytest.raises(UserError, match=r"cannot read screen\.tree"):
        read_tree(str(tmp_path / "nothing.yaml"), CLASSES, Store())
