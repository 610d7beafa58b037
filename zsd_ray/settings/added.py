"""What other installed packages add, under entry points (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar

from zsd_ray.records.errors import UserError, last_line

T = TypeVar("T")


def added(group: str, kind: type[T]) -> list[type[T]]:
    """Load the classes that packages register under an entry-point group, in order of their names.

    Raises:
        UserError: one of them cannot be loaded, or is not a `kind`.
    """
    found: list[type[T]] = []
    for _, where, loaded in _loaded(group):
        if not (isinstance(loaded, type) and issubclass(loaded, kind)):
            raise UserError(f"{where} is no subclass of {kind.__module__}.{kind.__name__}")
        found.append(loaded)
    return found


def added_objects(group: str, kind: type[T]) -> dict[str, T]:
    """Load the objects that packages register under an entry-point group, by their names.

    Raises:
        UserError: one of them cannot be loaded, is not a `kind`, or has the name of another.
    """
    found: dict[str, T] = {}
    for name, where, loaded in _loaded(group):
        if not isinstance(loaded, kind):
            raise UserError(f"{where} is no {kind.__module__}.{kind.__name__}")
        if name in found:
            raise UserError(f"{where} is the second of its name; remove one of the packages")
        found[name] = loaded
    return found


def refuse_taken(group: str, own: Collection[str], names: Sequence[str]) -> None:
    """Raise UserError where what packages add has a name of our own, or two have the same."""
    for number, name in enumerate(names):
        if name in own or name in names[:number]:
            raise UserError(
                f"a package adds {name} under the entry points of {group}, and something else has "
                "this name already; give it another name there"
            )


def _loaded(group: str) -> Iterator[tuple[str, str, Any]]:
    """Yield each entry point's name, its description for messages, and the loaded object."""
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        where = f"the entry point {point.name} = {point.value} of {group}"
        try:
            loaded = point.load()
        except Exception as error:  # whatever the package does when it is imported
            raise UserError(f"{where} cannot be loaded: {last_line(error)}") from error
        yield point.name, where, loaded
