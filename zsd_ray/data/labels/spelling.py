"""A check that a list is not the data's own names, spelled differently and in another order.

Matched by order, such a list would silently give images the names of other classes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from zsd_ray.data.labels.label_names import ranks_as_numbers
from zsd_ray.records.errors import UserError, some

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_INDEX = re.compile(r"n?\d+[\W_]+(?=\w)")
"""What data sets write before a name: 001.Laysan_Albatross, n02085620-Chihuahua."""

_SHORTEST = 3
"""Letters that two words must share from their start: Jan and January, dog and dogs."""


def check_spelling(
    listed: Sequence[str], label_names: Sequence[str], what: str = "prompts.classes"
) -> None:
    """Raise UserError if a list is the data's names in another spelling and another order.

    Spellings differ in case, accents as one character or two, signs, spaces, CamelCase, and a
    number before the name. A list of which each name is like exactly one label also counts: "a
    dog", "dogs".
    """
    spelled = {key for name in listed for key in _spellings(name)}
    moved = [
        f"{label} is {came!r} there"
        for label, came in zip(label_names, listed, strict=True)
        if _spellings(label) & spelled and not _spellings(label) & _spellings(came)
    ]
    # Labels that are numbers go with a list by the order of numbers, which is said.
    alike = _alike(listed, label_names) if ranks_as_numbers(label_names) is None else []
    if not moved and sorted(alike) == list(range(len(listed))):
        moved = [
            f"{label} is {listed[number]!r} there"
            for number, (label, place) in enumerate(zip(label_names, alike, strict=True))
            if place != number
        ]
    if moved:
        raise UserError(
            f"{what} has the data's names, spelled differently, in another order ({some(moved)}); "
            "order it as the data's sorted names, or map label: name"
        )


def _spellings(name: str) -> set[str]:
    """Return the letters and digits of a name, with and without a number before it."""
    return {"".join(_words(text)) for text in (name, _INDEX.sub("", name, count=1))} - {""}


def _words(name: str) -> list[str]:
    split = unicodedata.normalize("NFKD", _CAMEL.sub(" ", name))
    plain = "".join(sign for sign in split if unicodedata.category(sign) not in ("Mn", "Cf"))
    return _WORD.findall(plain.replace("'", "").replace("\u2019", "").casefold())


def _alike(listed: Sequence[str], label_names: Sequence[str]) -> list[int]:
    """Return the one name that each label is like; None if a label is like none, or several."""
    words, found = [_words(name) for name in listed], []
    for label in map(_words, label_names):
        like = [n for n, each in enumerate(words) if _is_like(label, each)]
        if len(like) != 1:
            return []
        found += like
    return found


def _is_like(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether each word of the shorter name is a prefix of a word of the longer one, or vice
    versa."""
    few, many = sorted((one, other), key=len)
    return bool(few) and all(any(_share_a_start(a, b) for b in many) for a in few)


def _share_a_start(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) >= _SHORTEST and long.startswith(short))
