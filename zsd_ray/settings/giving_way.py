"""The effect of a choice by `--set` on a file: `--set pruning.rule=li` over another rule's keys.

A section that is one of several kinds (a rule, a method, a source, a family) has a key that names
it. If `--set` changes that key, keys of the file that the new kind does not have are dropped. Keys
that were set by `--set` stay, and are checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import ValidationError

from zsd_ray.settings.explain import members_of, place_of, plain_types
from zsd_ray.settings.section import Section

Path = tuple[str, ...]
Errors = Callable[[Any], Mapping[tuple[Path, str], str]]
"""Of a section's tree: what is wrong by (keys within the section, kind of error), in words."""


class Choice(NamedTuple):
    """A section whose kind is changed by `--set`.

    path: of the section; key: the one that names its kind; known: the keys of all kinds.
    """

    path: Path
    key: str
    known: frozenset[str]
    errors: Errors


def give_way(
    choices: Sequence[Choice], before: Any, tree: dict[str, Any], typed: Sequence[Path]
) -> list[str]:
    """Remove keys of a file from a tree that have no meaning after the overrides.

    Args:
        before: the tree of the file only.
        tree: the same with overrides; changed in place.

    Returns:
        One line for each choice for which keys were dropped.
    """
    lines = []
    for choice in choices:
        section, old = _node(tree, choice.path), _node(before, choice.path)
        if not isinstance(section, dict) or not isinstance(old, dict):
            continue
        now = section.get(choice.key)
        if now == old.get(choice.key):
            continue
        n = len(choice.path)
        inside = [path[n:] for path in typed if path[:n] == choice.path]
        gone = _gone(choice, section, [path for path in inside if path])
        if gone:
            gone = [path for path in _paths(old) if path in gone]
            name = ".".join((*choice.path, choice.key))
            keys = ", ".join(".".join((*choice.path, *path)) for path in gone)
            lines.append(f"{keys} of the file gave way to --set {name}={now}")
    return lines


def choices_of(kind: type[Section], typed: Sequence[Path]) -> list[Choice]:
    """Return the choices among the overrides of a configuration of this kind."""
    found = []
    for path in dict.fromkeys(typed):
        parent = _parent(kind, path[:-2]) if len(path) > 1 else None
        parent = getattr(parent, "sections_of", None) or parent
        field = None if parent is None else parent.model_fields.get(path[-2])
        if parent is None or field is None:
            continue
        kinds = [each for each in plain_types(field.annotation) if hasattr(each, "model_fields")]
        key = members_of(field)[0] or next((each.chooses for each in kinds if each.chooses), None)
        if key == path[-1]:
            known = frozenset(name for each in kinds for name in each.model_fields)
            errors = errors_within(parent, path[-2], kinds)
            found.append(Choice(path[:-1], path[-1], known, errors))
    return found


def errors_within(parent: type[Section], name: str, kinds: Sequence[type[Section]]) -> Errors:
    """Return the errors of one section of a section."""

    def errors(section: Any) -> dict[tuple[Path, str], str]:
        found = {
            ((*path[1:],), kind): text
            for (path, kind), text in errors_of(parent, {name: section}).items()
            if path[:1] == (name,)
        }
        for each in kinds if len(kinds) == 1 else ():
            found |= {((key,), "idle"): key for key in each.idle(section)}
        return found

    return errors


def errors_of(kind: type[Section], tree: Any) -> dict[tuple[Path, str], str]:
    """Return the errors of a tree, by (keys, kind of error)."""
    try:
        kind.model_validate(tree)
    except ValidationError as error:
        return {
            (tuple(place_of(kind, item["loc"])[0]), item["type"] + item["msg"]): item["msg"]
            for item in error.errors()
        }
    return {}


def _gone(choice: Choice, section: dict[str, Any], typed: Sequence[Path]) -> list[Path]:
    """Remove, one by one, keys without which there are fewer errors."""
    gone: list[Path] = []
    while errors := choice.errors(section):
        for path in _blamed(choice, section, errors):
            if any(one[: len(path)] == path for one in typed):
                continue
            without = deepcopy(section)
            del _node(without, path[:-1])[path[-1]]
            left = choice.errors(without)
            if not errors.keys() <= left.keys():
                del _node(section, path[:-1])[path[-1]]
                gone.append(path)
                break
        else:
            break
    return gone


def _blamed(
    choice: Choice, section: Mapping[str, Any], errors: Mapping[tuple[Path, str], str]
) -> Iterator[Path]:
    """Return the keys that errors are about: at their place, or named by them."""
    for (path, _), text in errors.items():
        while path and not _has(section, path):
            path = path[:-1]
        if path and path[0] in choice.known and path != (choice.key,):
            yield path
        node = _node(section, path)
        for key in node if isinstance(node, Mapping) else ():
            if key != choice.key and re.search(rf"\b{re.escape(str(key))}\b", text):
                yield (*path, key)


def _parent(kind: type[Section], path: Path) -> Any:
    """Return the type of the section at a path of a configuration; None: there is none."""
    at: Any = kind
    for name in path:
        if get_origin(at) is dict:
            annotation = get_args(at)[1]
        else:
            field = at.model_fields.get(name)
            annotation = None if field is None else field.annotation
        kinds = [
            each
            for each in plain_types(annotation)
            if hasattr(each, "model_fields") or get_origin(each) is dict
        ]
        if not kinds:
            return None
        at = kinds[-1]
    return at if hasattr(at, "model_fields") else None


def _node(tree: Any, path: Path) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _paths(tree: Any, above: Path = ()) -> Iterator[Path]:
    """Yield the path of every key, in the order of the file."""
    for key, value in tree.items() if isinstance(tree, Mapping) else ():
        yield (*above, key)
        yield from _paths(value, (*above, key))


def _has(tree: Any, path: Path) -> bool:
    parent = _node(tree, path[:-1])
    return isinstance(parent, Mapping) and path[-1] in parent
