"""A place for a run that starts over: nothing that is there is touched."""

from __future__ import annotations

from itertools import count

from zsd_ray.records.redaction import redact
from zsd_ray.storage import filesystem


def free_path(path: str) -> str:
    """Return the first of PATH, PATH-2, PATH-3, ... at which there is nothing.

    Raises:
        UserError: its store does not say.
    """
    stem = path.rstrip("/")
    try:
        return next(
            place
            for place in (stem if n == 1 else f"{stem}-{n}" for n in count(1))
            if not _is_taken(place)
        )
    except Exception as error:  # each filesystem has errors of its own
        what = f"output.path {redact(path)} cannot be looked up"
        raise filesystem.user_error(what, error, path, "; choose another") from error


def _is_taken(path: str) -> bool:
    fs, root = filesystem.open_filesystem(path)
    return bool(filesystem.ask(path, lambda: filesystem.list_folder(fs, root)))
