"""Queries to any filesystem: whether it is S3, and which files it holds."""

from __future__ import annotations

import re
from typing import Any

import fsspec


def is_s3(fs: Any) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "s3" in protocols


def is_s3_url(path: str) -> bool:
    return path.startswith(("s3://", "s3a://"))


def find_matching(fs: Any, pattern: str) -> list[str]:
    """Return the full paths of the files that match a glob pattern, sorted."""
    if not is_s3(fs):
        found = fs.glob(pattern, detail=True)
        return sorted(path for path, info in found.items() if info["type"] != "directory")
    # fsspec's glob leaves out the folders whose listing failed, and so loses images in silence.
    literal = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    folder, _, stem = literal.rpartition("/")
    matches = re.compile(fsspec.utils.glob_translate(pattern)).match
    return sorted(path for path in fs.find(folder, prefix=stem) if matches(path))


def list_folder(fs: Any, folder: str) -> list[str]:
    """Return the full paths of a folder's direct entries, sorted; none if it does not exist."""
    try:
        return sorted(fs.ls(folder, detail=False))
    except FileNotFoundError:
        return []
