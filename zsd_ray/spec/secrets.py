"""Hides what must not be shown: users, passwords and signatures inside URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")

_LONGEST_REASON = 200

# What stands before the @ of a URL's host; a password may hold a slash that nobody escaped, so a
# colon that starts no port number hides everything up to the last @. abfs names a container there.
_USER = re.compile(r"(?<!abfs)(?<!abfss)://(?:[^/\s:@]*:(?!\d+(?:/|\s|$))\S*|[^/\s]*)@")
_QUERY = re.compile(r"(https?://[^\s?]*)\?\S*")  # signed links keep their secret in the query


def redact(text: str) -> str:
    """Hide users, passwords and signed queries of the URLs in `text`."""
    return _QUERY.sub(r"\1?***", _USER.sub("://***@", text))


def reason(error: BaseException, *urls: str) -> str:
    """What an error says, in one line that tells no secret of the URLs that it is about."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if any(redact(url) != url for url in urls):
        return type(error).__name__  # its text may hold any piece of the URL
    if isinstance(error, OSError) and error.strerror:
        return redact(error.strerror)
    text = redact(" ".join(str(error).split()))
    return text[:_LONGEST_REASON] or type(error).__name__


def redacted(value: T) -> T:
    """Hide the secrets of every URL inside plain values."""
    return cast(T, _redacted(value))


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return value
