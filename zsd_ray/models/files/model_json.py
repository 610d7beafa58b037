"""The untrusted JSON files of model folders: read as objects, and searched for code.

The libraries run code that comes with a model, or fetch other files, if a JSON file asks for it. No
family allows this: such a folder is refused before a library sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.settings.documents import parse_json, parse_json_object

_ONLY_VOCABULARY = ("tokenizer.json", "vocab.json")
"""Megabytes that no library searches for code."""
_ATTENTION = ("eager", "sdpa", True, False, None)
"""Kinds of attention that are part of the libraries; others name a repository of kernels."""
_ADAPTER = "adapter_config.json"


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file.

    Raises:
        UserError: the file is missing, or holds no object.
    """
    return parse_json_object(_content(path), str(path))


def read_value(path: Path) -> Any:
    """Return the value of a JSON file; raises UserError as `read_object`."""
    return parse_json(_content(path), str(path))


def part_of(content: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    """Return the object under a key of an object; raises UserError if it is not one."""
    part = content.get(key)
    if not isinstance(part, dict):
        raise UserError(f"{path}: {key} must be a JSON object, but came {_shown(part)}")
    return part


def refuse_code(folder: Path) -> None:
    """Refuse a folder with a JSON file that asks for code or for another model.

    These are `auto_map` (classes in Python files beside it, or in another's repository),
    `trust_remote_code`, kernels of attention by the name of a repository, `transformers_weights`
    and `fast_tokenizer_files` (other files than those that are checked, perhaps elsewhere), and an
    adapter, which names its base model.

    Raises:
        UserError: there is one.
    """
    for path in sorted(folder.rglob("*.json")):
        if path.name in _ONLY_VOCABULARY or not path.is_file():
            continue
        if path.name == _ADAPTER:
            raise UserError(
                f"{path} makes this folder an adapter of another model, which it names; merge it "
                "into that model, and give the whole as model.path"
            )
        try:
            content = read_value(path)
        except UserError:
            continue  # no library can read it either; whoever needs it says what is wrong
        for key, value in _pairs(content):
            if _asks_for_code(key, value):
                raise UserError(
                    f"{path} asks for code or files that are no part of the model ({key}: "
                    f"{_shown(value)}), which are never run or fetched; remove the key, or take "
                    "another copy of the model"
                )


def _asks_for_code(key: str, value: Any) -> bool:
    if key.endswith("attn_implementation"):
        return not (isinstance(value, str | bool | None) and value in _ATTENTION)
    if key == "fast_tokenizer_files":
        return bool(value) and value != ["tokenizer.json"]
    return key in ("auto_map", "trust_remote_code", "transformers_weights") and bool(value)


def _pairs(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and value of nested objects."""
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from value.items()
            left += value.values()
        elif isinstance(value, list):
            left += value


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; take another copy of the model") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _shown(value: Any) -> str:
    return redact(repr(value))[:80]
