"""Names and values in the form that MLflow accepts, so that no user text stops the tracking."""

from __future__ import annotations

import re
from typing import Any

LONGEST_NAME = 250
LONGEST_PARAM = 6000
LONGEST_EXPERIMENT = 500
LONGEST_TAG = 5000
"""What every server of MLflow takes; new ones take more."""

_ODD = re.compile(r"[^\w.\- :/]")


def fit_name(text: str) -> str:
    """Return the nearest valid metric name to `text`: no special characters, no path upwards."""
    text = text.replace("|", " given ").replace(",", " and ")
    parts = _ODD.sub("_", text).split("/")
    name = "/".join(part for part in parts if part not in ("", ".", ".."))
    name = re.sub(r"^\.\.", "_", name)[:LONGEST_NAME].rstrip("/")
    return "_" if name in ("", ".") else name


def fit_value(value: Any, longest: int) -> str:
    """Return a value as text of limited length, with characters that a database can hold."""
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\x00")[:longest]
