"""External JSON and YAML: from text to plain values, or one clear error line.

Every place that reads such a file goes through here, so that a damaged one is always a `UserError`:
no parser traceback, and no repeated key silently accepted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable
from typing import Any

import yaml

from zsd_ray.records.errors import UserError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file's first bytes are those of a git-LFS pointer, fetched without its content."""
    return head.startswith(_LFS_POINTER)


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded: JSON may hold a lone surrogate, and a file's name any
    bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_json(data: bytes | str, shown: str) -> Any:
    """Return the value of a JSON text.

    Args:
        shown: the file's name in messages.

    Raises:
        UserError: it is not JSON in UTF-8, or nested too deeply.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if is_lfs_pointer(raw):
        raise UserError(f"{shown} is a git-LFS pointer, not the file itself; run `git lfs pull`")
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown} is not valid JSON ({_line(error)}); replace the file") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of these keys; raises ValueError if one is repeated."""
    written = dict(pairs)
    if len(written) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:60]!a} is given twice")
    return written


def parse_json_object(data: bytes | str, shown: str) -> dict[str, Any]:
    """Return the object of a JSON text; raises UserError if it is anything else."""
    content = parse_json(data, shown)
    if not isinstance(content, dict):
        raise UserError(f"{shown} must hold a JSON object, but holds a {kind_of(content)}")
    return content


def parse_yaml(text: str, shown: str) -> Any:
    """Return the value of a YAML text: mappings, lists, text, numbers, true, false and null.

    Dates are text. Numbers that YAML reads in an unexpected base (010 is 8, and 1:30 is 90) are
    refused, and so are values that no section takes: see `_check_plain`.

    Raises:
        UserError: it is not valid YAML, repeats a key of a mapping, holds a value that its tag or
            its form does not allow, or is nested too deeply.
    """
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
        _check_plain(value)
    except _OF_YAML as error:
        # PyYAML's constructors let Python's own errors through, for `!!timestamp abc` or `0x_`.
        raise UserError(f"{shown} is not valid YAML: {_line(error)}") from error
    return value


_OF_YAML = (
    yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError
)  # fmt: skip


def parse_typed_value(text: str, shown: str) -> Any:
    """Return the value of the text after `--set key=`.

    A flow ([a, b], {a: b}), a quoted text, a number, true, false and null are read as YAML.
    Anything else is literal text, even where `#`, `: ` or `@` has a meaning in YAML.

    Raises:
        UserError: an invalid flow, or a value that `parse_yaml` refuses.
    """
    text = text.strip()
    try:
        _check_plain(text)
    except ValueError as error:
        raise UserError(f"{shown}: {error}") from error
    if text[:1] in ("[", "{"):
        return parse_yaml(text, shown)
    if text[:1] in ("'", '"'):
        return parse_yaml(text, shown) if _is_quoted(text) else text
    resolve: Any = _StrictLoader("").resolve
    tag = resolve(yaml.ScalarNode, text, (True, False))
    return parse_yaml(text, shown) if tag in _SCALAR_TAGS else text


_SCALAR_TAGS = [f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")]


def _is_quoted(text: str) -> bool:
    """Whether the whole text is one quoted YAML text."""
    try:
        node = yaml.compose(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError):
        return False
    return isinstance(node, yaml.ScalarNode) and bool(node.end_mark.index == len(text))


_MOST_VALUES = 1_000_000
_DEEPEST = 50
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def _check_plain(value: Any) -> None:
    """Refuse values that no section takes; the ValueError names them.

    These are bytes and sets, numbers beyond 64 bits, text that cannot be encoded, and aliases that
    contain themselves or expand to more than a million values.
    """
    n_values, height = _measured(value, {})
    if height > _DEEPEST:
        raise ValueError("nested too deeply")
    if n_values > _MOST_VALUES:
        raise ValueError(f"its aliases stand for {n_values:,} values")


def _measured(value: Any, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Return the number of values in a value, and their depth; each is visited once.

    known: results for the lists and mappings visited so far, by id; None for those around this
        value.
    """
    if not isinstance(value, dict | list):
        _check_scalar(value)
        return 1, 0
    if id(value) in known:
        size = known[id(value)]
        if size is None:
            raise ValueError("a list or mapping that is in itself")
        return size
    known[id(value)] = None
    parts = [part for item in value.items() for part in item] if isinstance(value, dict) else value
    sizes = [_measured(part, known) for part in parts]
    size = 1 + sum(n for n, _ in sizes), 1 + max((height for _, height in sizes), default=0)
    known[id(value)] = size
    return size


def _check_scalar(one: Any) -> None:
    if isinstance(one, str):
        if _NO_TEXT.search(one):
            raise ValueError(f"{one[:60]!r} holds what is no text (NUL, or half a character)")
    elif isinstance(one, int) and not -(2**63) <= one < 2**63:
        raise ValueError(f"{str(one)[:20]}... is a number beyond 64 bits")
    elif one is not None and not isinstance(one, int | float):
        raise ValueError(f"holds {type(one).__name__}, and takes text, numbers, lists and mappings")


def kind_of(value: Any) -> str:
    """Return the name of a plain value's type in messages."""
    names = {dict: "mapping", list: "list", str: "text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "number" if isinstance(value, int | float) else "value")


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses keys given twice, numbers of odd bases, and deep nesting."""

    _depth = 0

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level > _DEEPEST:  # before it looks ahead at all of them
            raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.get_mark())
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
        finally:
            self._depth -= 1
        return node

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

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value: int = super().construct_yaml_int(node)
        self._refuse_odd_base(node, value, _OCTAL)
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value: float = super().construct_yaml_float(node)
        self._refuse_odd_base(node, value, _SIXTIES)
        return value

    def _refuse_odd_base(self, node: yaml.ScalarNode, value: float, odd: re.Pattern[str]) -> None:
        if odd.search(node.value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value} is {value} to YAML; write that, or quote it to have it as text",
                node.start_mark,
            )


_SIXTIES = re.compile(":")
_OCTAL = re.compile(r"^[-+]?0[0-9_]+$|:")

_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_yaml_float)
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:timestamp"]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 takes 1e-3 for text, where people and YAML 1.2 mean a number.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, LookupError):
        return f"a tag does not allow its value ({error})"
    text = " ".join(str(error).split()).replace('in "<unicode string>", line', "at line")
    return text[:200] or type(error).__name__
