"""A place for a run that starts over: nothing that is there is touched."""

from __future__ import annotations

from itertools import count

from zsd_ray.records.redaction import redact
from zsd_ray.storage.filesystem import list_folder
from zsd_ray.storage.store import Store


def free_path(path: str, store: Store) -> str:
    """Return the first of PATH, PATH-2, PATH-3, ... at which there is nothing.

    Raises:
        UserError: its store does not say.
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


def _is_taken(path: str, store: Store) -> bool:
    fs, root = store.open(path)
    return bool(store.ask(path, lambda: list_folder(fs, root)))
