"""What a way of reading images is; their table, which imports other packages, is another module."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reader:
    """A way of reading images.

    opens: "module:callable" that returns an ImageDataset, called with the values of `keys` in
        order, its path as a data/location.py `Location`.
    keys: what it takes from the `data` section.
    """

    opens: str
    keys: tuple[str, ...] = ("path",)
