"""Records in JSON, as dataclasses: values that are read back have the types that were written.

Keys that this version does not know are ignored, so that a newer version's record can be read; a
missing key, or a value of another type, is a `DamagedFile`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from zsd_ray.records.errors import DamagedFile
from zsd_ray.settings.documents import parse_json_object

T = TypeVar("T")

Status = Literal["running", "finished", "incomplete", "interrupted", "failed"]
"""Of a job. "incomplete": it came to its end, and a part of it could not be done."""

_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def read_record(cls: type[T], content: bytes | str, shown: str, advice: str) -> T:
    """Return the record that a JSON file holds.

    Args:
        cls: a dataclass of plain values.
        shown: the file's name in messages; advice: what to do if it is invalid.

    Raises:
        UserError: it is no JSON object.
        DamagedFile: it is no such record.
    """
    return as_record(cls, parse_json_object(content, shown), shown, advice)


def as_record(cls: type[T], tree: Mapping[str, Any], shown: str, advice: str) -> T:
    """Return a record, like `read_record`, but from a parsed JSON object."""
    try:
        # As JSON: of Python values, strict takes no mapping for a dataclass.
        found: T = _adapter(cls).validate_json(json.dumps(tree), strict=True)
        return found
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        why = f"{where}: {first['msg']}" if where else first["msg"]
        raise DamagedFile(shown, why[:160], advice) from error


def _adapter(cls: type[T]) -> TypeAdapter[T]:
    # Making one takes milliseconds, and `status` may be asked of a thousand runs.
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]
