"""JSON and YAML that people and other programs wrote: from text to plain values, or one clear line.

Every place that reads such a file goes through here, so that a damaged one is a `UserError`
wherever it is met: no traceback of a parser, and no repeated key taken in silence.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

import yaml

from zsd_ray.spec.errors import UserError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins so is a pointer of git-LFS, fetched without its content."""
    return head.startswith(_LFS_POINTER)


def parse_json(data: bytes | str, shown: str) -> Any:
    """Return the value of a JSON text.

    Args:
        shown: the file's name, as messages say it.

    Raises:
        UserError: it is no JSON in UTF-8, or nested too deeply.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if is_lfs_pointer(raw):
        raise UserError(f"{shown} is a git-LFS pointer, not the file itself; run `git lfs pull`")
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown} is not valid JSON ({_line(error)}); replace the file") from error


def parse_json_object(data: bytes | str, shown: str) -> dict[str, Any]:
    """Return the object of a JSON text; raises UserError where it holds anything else."""
    content = parse_json(data, shown)
    if not isinstance(content, dict):
        raise UserError(f"{shown} must hold a JSON object, but holds a {kind_of(content)}")
    return content


def parse_yaml(text: str, shown: str) -> Any:
    """Return the value of a YAML text of plain values.

    Raises:
        UserError: it is not valid YAML, repeats a key of a mapping, holds a value that its tag or
            its form does not allow, or is nested too deeply.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, KeyError, AttributeError) as error:
        # PyYAML's constructors let Python's own errors through, for `2026-13-01` or `0x_`.
        raise UserError(f"{shown} is not valid YAML: {_line(error)}") from error


def kind_of(value: Any) -> str:
    """What a plain value is called in messages."""
    names = {dict: "mapping", list: "list", str: "text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "number" if isinstance(value, int | float) else "value")


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a mapping with the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue  # `<<: *defaults`, whose keys are there to be overridden
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, Hashable) and key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key if isinstance(key, Hashable) else None)
        return super().construct_mapping(node, deep)


def _line(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return " ".join(str(error).split())[:200] or type(error).__name__
