"""The places where a command may write.

A Ray job's copy of a folder is refused, since it vanishes with the job; a run that starts over
needs a place where nothing is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.storage.filesystem import list_folder
from zsd_ray.storage.store import Store

_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the command of `ray job submit`."""

_PATTERN = "*?[{"
_DATA_SECTIONS = ("data", "real", "generated", "train", "test")


def refuse_relative(tree: Mapping[str, Any]) -> None:
    """Refuse paths that a Ray job would lose or cannot find; outside of a job, refuse nothing.

    A relative output is in the job's copy of the working directory, where the next job does not
    look. A relative input must be among the files that `--working-dir` sent.

    Args:
        tree: a configuration of any command, as plain values.

    Raises:
        UserError: output.path is relative, or a relative path of data does not exist.
    """
    if _VARIABLE not in os.environ:
        return
    refuse_relative_place("output.path", str(tree["output"]["path"]))
    for key, path in _data_paths(tree, ""):
        if _is_relative(path) and not set(_PATTERN) & set(path) and not Path(path).exists():
            raise UserError(
                f"{key} {redact(path)} is relative, and the files that came with this job have no "
                "such path; give an absolute path that every node sees, or a URL"
            )


def refuse_relative_place(key: str, path: str) -> None:
    """Like `refuse_relative`, but for one place that a command writes to."""
    if _VARIABLE in os.environ and _is_relative(path):
        raise UserError(
            f"{key} {redact(path)} is relative, and this command runs as a job of Ray: it would "
            "lie in the job's own copy of the files, where no later job finds it; give an absolute "
            "path that every node sees, or a URL"
        )


def free_path(path: str, store: Store) -> str:
    """Return the first of PATH, PATH-2, PATH-3, ... at which there is nothing.

    Raises:
        UserError: its store does not answer.
    """
    stem = path.rstrip("/")
    try:
        return next(
            place
            for place in (stem if n == 1 else f"{stem}-{n}" for n in count(1))
            if not _is_taken(place, store)
        )
    except Exception as error:  # each filesystem has errors of its own
        what = f"output.path {redact(path)} cannot be looked up"
        raise store.user_error(what, error, path, "; choose another") from error


def _is_relative(path: str) -> bool:
    return "://" not in path and not os.path.isabs(os.path.expanduser(path))


def _data_paths(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found = []
    for name in _DATA_SECTIONS:
        section = tree.get(name)
        if isinstance(section, Mapping):
            if isinstance(section.get("path"), str):
                found.append((f"{prefix}{name}.path", section["path"]))
            found += _data_paths(section, f"{prefix}{name}.")
    return found


def _is_taken(path: str, store: Store) -> bool:
    fs, root = store.open(path)
    return bool(store.ask(path, lambda: list_folder(fs, root)))
