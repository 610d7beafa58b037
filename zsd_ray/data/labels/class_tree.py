"""A tree of named groups over the classes of a run, from a YAML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError, some
from zsd_ray.settings.documents import parse_yaml
from zsd_ray.storage.store import Store

_MOST_LEVELS = 20


@dataclass(frozen=True)
class Level:
    """One level of a tree.

    names: the names of its groups, in the order of the file.
    of_class: the group of each class of the run, in class order.
    """

    names: tuple[str, ...]
    of_class: tuple[int, ...]

    def groups_in(self, above: Level) -> tuple[int, ...]:
        """Return the group of the level above that contains each of these groups."""
        of = dict(zip(self.of_class, above.of_class, strict=True))
        return tuple(of[group] for group in range(len(self.names)))


@dataclass(frozen=True)
class ClassTree:
    """The levels of a tree, coarsest first; a group of classes stays in the levels below its own.

    plain: the content of the file, as plain values.
    """

    levels: tuple[Level, ...]
    plain: Mapping[str, Any]

    def race_sizes(self, top: int) -> tuple[list[int], list[int]]:
        """Return the fewest and most groups or classes that are scored per image at each level.

        Below the first level they are the members of `top` groups. One alone is not scored: 0.
        """
        first, last = len(self.levels[0].names), Counter(self.levels[-1].of_class)
        members = [Counter(below.groups_in(above)) for above, below in pairwise(self.levels)]
        sizes = [sorted(counts.values()) for counts in (*members, last)]
        races = [sum(n[:top]) for n in sizes], [sum(n[-top:]) for n in sizes]
        fewest, most = ([first, *(n if n > 1 else 0 for n in race)] for race in races)
        return fewest, most


def read_tree(path: str, classes: Sequence[str], store: Store) -> ClassTree:
    """Read a tree over the classes of a run.

    Raises:
        UserError: the file cannot be read, or is not a tree whose leaves are these classes.
    """
    location = Location(path, store)
    what = f"screen.tree {location.shown}"
    with location.user_errors(what):
        text = location.read_bytes(location.root).decode("utf-8-sig")
    return parse_tree(parse_yaml(text, what), classes, what)


def parse_tree(tree: Any, classes: Sequence[str], what: str = "screen.tree") -> ClassTree:
    """Check a tree: a mapping from group names to mappings of the same kind, or lists of classes.

    Args:
        what: its name in messages.

    Raises:
        UserError: it is not a tree, or its leaves are not the classes of the run, each once.
    """
    plain = _plain(tree, what, ())
    if not isinstance(plain, Mapping):
        raise UserError(f"{what} needs names of groups at its top, but holds a list of classes")
    leaves = list(_leaves(plain, ()))
    _check_classes([name for name, _ in leaves], classes, what)
    _check_groups(plain, what)
    path_of = dict(leaves)
    paths = [path_of[name] for name in classes]
    depth = max(map(len, paths))
    levels = tuple(_level(list(path_of.values()), paths, n) for n in range(1, depth + 1))
    if len(levels[0].names) < 2:
        raise UserError(
            f"{what} has one group at its top ({levels[0].names[0]}); a choice needs at least 2, "
            "so begin with the groups below it"
        )
    if len(levels[-1].names) == len(classes):
        raise UserError(
            f"{what} has a group of its own for each class; list the classes in the groups above"
        )
    return ClassTree(levels, plain)


def _plain(node: Any, what: str, path: tuple[str, ...]) -> dict[str, Any] | list[str]:
    """Return the tree with every name as text: YAML reads 0 and 1 as numbers."""
    place = f"group {'/'.join(path)}" if path else "the file"
    if len(path) > _MOST_LEVELS:
        raise UserError(f"{what} has more than {_MOST_LEVELS} levels; each is a run of its own")
    if not isinstance(node, Mapping | list):
        came = "nothing" if node is None else repr(node)
        raise UserError(
            f"{what}: {place} holds {came}; it takes a mapping of groups or a list of classes"
        )
    if not node:
        raise UserError(f"{what}: {place} is empty; remove it, or list its classes")
    for name in node:
        if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
            raise UserError(
                f"{what}: {place} holds {name!r} where a name is due (quote names that YAML reads "
                "as something else, and list either groups or classes)"
            )
    if isinstance(node, list):
        return [str(name) for name in node]
    names = [str(name) for name in node]
    return {
        name: _plain(below, what, (*path, name))
        for name, below in zip(names, node.values(), strict=True)
    }


def _leaves(
    node: Mapping[str, Any] | Sequence[str], path: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each class and the groups that lead to it."""
    if isinstance(node, Mapping):
        for name, below in node.items():
            yield from _leaves(below, (*path, name))
    else:
        yield from ((name, path) for name in node)


def _groups(node: Mapping[str, Any] | Sequence[str]) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, below in node.items():
            yield name
            yield from _groups(below)


def _check_classes(leaves: Sequence[str], classes: Sequence[str], what: str) -> None:
    same = _twice(classes)
    if same:
        raise UserError(
            f"{what}: prompts.classes names {some(same)} more than once, so names do not tell the "
            "classes apart; make them distinct"
        )
    known, listed = set(classes), set(leaves)
    missing = [name for name in classes if name not in listed]
    unknown = sorted(listed - known)
    twice = _twice(leaves)
    wrong = [
        f"{len(names)} {which} ({some(names)})"
        for names, which in (
            (missing, "of the run's classes are missing"),
            (unknown, "are no class of the run"),
            (twice, "stand more than once"),
        )
        if names
    ]
    if wrong:
        raise UserError(
            f"{what} lists {len(leaves)} classes for a run of {len(classes)}: {', '.join(wrong)}; "
            "list each name of prompts.classes once"
        )


def _check_groups(plain: Mapping[str, Any], what: str) -> None:
    twice = _twice(list(_groups(plain)))
    if twice:
        raise UserError(
            f"{what} names {some(twice)} more than once; prompts tell groups apart, so give each "
            "group a name of its own"
        )


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _level(
    in_order: Sequence[tuple[str, ...]], paths: Sequence[tuple[str, ...]], depth: int
) -> Level:
    """Return the groups of the classes at a depth, or at the end of their paths if that is above
    it."""
    number: dict[tuple[str, ...], int] = {}
    for path in in_order:
        number.setdefault(path[:depth], len(number))
    names = tuple(path[-1] for path in number)
    return Level(names, tuple(number[path[:depth]] for path in paths))
