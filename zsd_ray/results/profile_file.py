"""A profile of t on its own (config/method_section.py), as a small JSON file at a path or URL."""

from __future__ import annotations

import json
import os

from zsd_ray.config.run import parse_config
from zsd_ray.config.time_profile import TimeProfile
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.output import Output
from zsd_ray.settings.documents import parse_json_object
from zsd_ray.storage.store import Store


def read_profile(path: str, store: Store) -> TimeProfile | None:
    """Read a profile; None if there is no such file.

    Raises:
        UserError: it cannot be read, or is no profile.
    """
    shown = redact(path)
    try:
        fs, name = store.open(path)
        content = store.ask(path, lambda: bytes(fs.cat_file(name)))
    except FileNotFoundError:
        return None
    except Exception as error:  # each filesystem has errors of its own
        raise store.user_error(f"the profile {shown} cannot be read", error, path) from error
    return parse_config(TimeProfile, parse_json_object(content, shown), shown)


def write_profile(path: str, profile: TimeProfile, store: Store) -> None:
    """Write a profile atomically; only another profile is replaced.

    Raises:
        UserError: the path cannot be written to, or is another kind of file.
    """
    _refuse_other(path, store)
    folder, name = os.path.split(path)
    text = json.dumps(profile.model_dump(mode="json"), indent=1) + "\n"
    try:
        Output(folder or ".", store).write_bytes(name, text.encode())
    except Exception as error:  # likewise
        what = f"the profile {redact(path)} cannot be written"
        raise store.user_error(what, error, path) from error


def _refuse_other(path: str, store: Store) -> None:
    try:
        if "://" in path or os.path.isfile(path):
            read_profile(path, store)
    except UserError as error:
        raise UserError(
            f"the profile {redact(path)} cannot be written: what is there is no profile, and is "
            "kept; choose another place"
        ) from error
