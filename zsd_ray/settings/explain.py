"""Errors of a configuration in words: pydantic's errors in terms of the file's keys and values."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Discriminator, ValidationError
from pydantic.fields import FieldInfo

from zsd_ray.settings.section import Section

_LONGEST = 60
_DUE = "input should be "
_BRANCH = re.compile(r"^(str|int|float|bool|none|constrained-\w+|\w+\[.*\]|[A-Z]\w*)$", re.DOTALL)
_A_SECTION = ("model_type", "model_attributes_type", "dict_type")


def explained(kind: type[Section], error: ValidationError) -> list[str]:
    """Return one line per mistake: path, given value, allowed values, the nearest name."""
    lines: dict[tuple[str, str], list[str]] = {}
    for item in error.errors():
        what, why = _explain(kind, item)
        reasons = lines.setdefault(what, [])
        if why not in reasons:
            reasons.append(why)
    return [f"{head}{_or(reasons)}{tail}" for (head, tail), reasons in lines.items()]


def _or(reasons: Sequence[str]) -> str:
    """Join several alternatives in one sentence."""
    return " or ".join([*reasons[:1], *(text.removeprefix(_DUE) for text in reasons[1:])])


def _explain(kind: type[Section], item: Mapping[str, Any]) -> tuple[tuple[str, str], str]:
    """Return the text before the reason, and the reason: one of several for a value of several
    types."""
    location, section = place_of(kind, item["loc"])
    path = ".".join(location)
    if item["type"] == "extra_forbidden":
        names = list(section.model_fields)
        near = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(names)}"
        return (f"unknown key {path}; {hint}", ""), ""
    if item["type"] == "invalid_key":
        where = ".".join(location[:-1]) or "the file"
        return (f"{where} has the key {_came(item['input'])}, and keys are text (quote it)", ""), ""
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return (_tag(kind, path, item), ""), ""
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return (f"{path}: {message}" if path else message, ""), ""
    hint = _hint(item)
    return (f"{path}: came {_came(item['input'])}; ", hint), _due(item, message)


def _tag(kind: type[Section], path: str, item: Mapping[str, Any]) -> str:
    key = "name" if path == "method" else item["ctx"]["discriminator"].strip("'")
    if item["type"] == "union_tag_not_found":
        return f"{path}.{key}: came nothing; it says which other keys there are"
    came, allowed = _cut(item["ctx"]["tag"]), item["ctx"]["expected_tags"]
    return f"{path}.{key}: came {came!r}; allowed: {allowed}"


def _due(item: Mapping[str, Any], message: str) -> str:
    """Return the expected value."""
    if item["type"] in _A_SECTION:
        return f"{_DUE}a section ({{key: value}})"
    return message[0].lower() + message[1:]


def _came(value: Any) -> str:
    return _cut(json.dumps(value, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _shown(part: str | int) -> str:
    """Return a key as shown in messages, without line breaks."""
    text = str(part)
    return _cut(text if text.isprintable() else ascii(text))


def _hint(item: Mapping[str, Any]) -> str:
    came = item["input"]
    if item["type"] == "string_type" and isinstance(came, bool | int | float | None):
        return " (quote what YAML reads as something else)"
    if item["type"] != "literal_error":
        return ""
    allowed = [
        part.strip("'") for part in item["ctx"]["expected"].replace(" or ", ", ").split(", ")
    ]
    near = difflib.get_close_matches(str(came), allowed, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def place_of(kind: type[Section], place: Sequence[str | int]) -> tuple[list[str], Any]:
    """Return the path of an error, and the innermost section on it.

    Pydantic puts the tag of a union's section into the path; it is not a key of the file.
    """
    path: list[str] = []
    section: Any = kind
    members: Mapping[str, type[Section]] = {}
    branches = False
    for part in place:
        if part in members:
            section, members = members[str(part)], {}
            continue
        if branches and isinstance(part, str) and _BRANCH.match(part):
            branches = False  # how far pydantic got with one of several types
            continue
        path.append(_shown(part))
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        if field is None:
            continue
        parts = plain_types(field.annotation)
        key, members = members_of(field)
        if key is None:
            section = next((each for each in parts if hasattr(each, "model_fields")), section)
        branches = key is None and len(parts) > 1
    return path, section


def members_of(field: FieldInfo) -> tuple[str | None, Mapping[str, type[Section]]]:
    """Return the discriminating key of a union of sections, and the sections by its values."""
    by_function = any(isinstance(each, Discriminator) for each in field.metadata)
    key = "name" if by_function else field.discriminator
    if not isinstance(key, str):
        return None, {}
    sections = [each for each in plain_types(field.annotation) if hasattr(each, "model_fields")]
    return key, {
        tag: each for each in sections for tag in get_args(each.model_fields[key].annotation)
    }


def plain_types(annotation: Any) -> list[Any]:
    """Return the types of a union, or the one type, without annotations."""
    if get_origin(annotation) is Annotated:
        return plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [each for part in get_args(annotation) for each in plain_types(part)]
    return [annotation]
