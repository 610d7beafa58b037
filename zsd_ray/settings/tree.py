"""A configuration as plain values: read from a file, and changed by `--set section.key=value`."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from zsd_ray.records.errors import UserError
from zsd_ray.settings.documents import kind_of, parse_typed_value, parse_yaml

_MOST_BYTES = 8 << 20
_MOST_NAMES = 20


def read_tree(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of sections; raises UserError."""
    tree = parse_yaml(_read(Path(path)), str(path))
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold sections (key: value), but holds a {kind_of(tree)}")
    return tree


def overridden(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a tree with `a.b=value` overrides applied; raises UserError."""
    tree = deepcopy(tree)
    for override in overrides:
        apply_override(tree, override)
    return tree


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one key of a tree of plain values, as `--set section.key=value` does; raises UserError.

    The value is read by `parse_typed_value`.
    """
    names, text = _split(override)
    key = ".".join(names)
    value = parse_typed_value(text, f"--set {key}")
    node = tree
    for name in names[:-1]:
        if node.get(name) is None:
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict):
            raise UserError(f"--set {key}: {name} is a value, not a section")
    node[names[-1]] = value


def typed_path(override: str) -> tuple[str, ...]:
    """Return the names on the path of the key that an override sets; raises UserError."""
    return tuple(_split(override)[0])


def _split(override: str) -> tuple[list[str], str]:
    key, separator, text = override.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not separator or not all(names):
        raise UserError(f"--set takes section.key=value, but came {override!r}")
    if len(names) > _MOST_NAMES:
        raise UserError(f"--set takes section.key=value; {key[:60]}... has {len(names)} names")
    return names, text


def _read(path: Path) -> str:
    what = f"the configuration {path}"
    try:
        data = _bytes(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {what}: {reason}") from error
    if len(data) > _MOST_BYTES:
        raise UserError(f"{what} is larger than {_MOST_BYTES >> 20} MB; it takes a YAML file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not UTF-8 text") from error
    return text.replace("\r\n", "\n")


def _bytes(path: Path) -> bytes:
    """Return the first bytes of a file or a pipe (`<(...)`), one more than the limit.

    Does not wait for the other end of a pipe: a pipe without a writer is refused.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        os.set_blocking(descriptor, True)
        data = file.read(_MOST_BYTES + 1)
    if is_pipe and not data:
        raise OSError(None, "it is a pipe that nobody writes to")
    return data
