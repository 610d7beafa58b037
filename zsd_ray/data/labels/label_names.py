"""The order of label names: as text in the data, as numbers when matched with a list.

Every source numbers the labels that it finds as text in the order of their text, so that a label
has the same number wherever it is read. A list of names for folders 0 to 11, however, begins with
0, 1, 2, while the order of text is 0, 1, 10, 11, 2. So if a list is matched by order, labels that
are numbers are taken in numeric order.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

from zsd_ray.records.errors import UserError

_NUMBER = re.compile(r"\s*-?\d+(\.\d+)?\s*")
_DIGITS = re.compile(r"(\d+)")
_NUMBER_OF_WORD = {
    word: Decimal(number)
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}
_N_SHOWN = 3


def number_labels(names: Iterable[str]) -> list[str]:
    """Return the distinct names, sorted as text: the place of each is its label's number."""
    return sorted(set(names))


def or_no_label(value: int | str | None) -> int | str | None:
    """Return a label of the data; None if it is blank, as for images without a label."""
    return None if isinstance(value, str) and not value.strip() else value


def match_by_order(labels: Sequence[str], listed: Sequence[str]) -> tuple[int, ...]:
    """Return the entry of a list for each label, if none of the labels' names is in it.

    Warns if that differs from the order of text, or if users may expect another order.

    Args:
        labels: the data's, each at the place of its number; as many as are `listed`.

    Raises:
        UserError: two labels are one number.
    """
    places, how = _match(labels, listed)
    if how:
        first = sorted(zip(places, labels, strict=True))[:_N_SHOWN]
        pairs = ", ".join(f"{label} is {listed[place]!r}" for place, label in first)
        warnings.warn(
            f"the data's {len(labels)} labels are taken in {how}: {pairs}, ...; map label: name in "
            "prompts.classes to say otherwise",
            stacklevel=2,
        )
    return tuple(places)


def check_text_order(labels: Sequence[str], listed: Sequence[str], what: str) -> None:
    """Refuse a list that is matched by label numbers, if those are not in numeric order.

    Args:
        what: the list's name in messages.

    Raises:
        UserError: the labels are numbers in the order of their text.
    """
    places, _ = _match(labels, listed)
    if places != list(range(len(labels))):
        raise UserError(
            f"{what} goes with the data's labels in the order of their text, which is "
            f"{', '.join(labels[:_N_SHOWN])}, ... and not that of their numbers; write them with "
            "leading zeros in the data"
        )


def _match(labels: Sequence[str], listed: Sequence[str]) -> tuple[list[int], str]:
    """Return the entry of each label, and a warning about it; "" if all orders agree."""
    places = list(range(len(labels)))
    if any(map(_numbers_in, labels)) and all(
        _numbers_in(label) == _numbers_in(came) for label, came in zip(labels, listed, strict=True)
    ):
        return places, ""  # "DC-10" is called "Douglas DC-10"
    as_text = list(labels) == sorted(labels)
    ranks = ranks_as_numbers(labels)
    if ranks is not None and ranks != places:
        if as_text:
            return ranks, "the order of their numbers, not of their text"
        return places, "the data's own order, not that of their numbers"
    if as_text and not _is_ordered_as_read(labels):
        return places, "the order of their text, not of the numbers in it"
    return places, ""


def ranks_as_numbers(names: Sequence[str]) -> list[int] | None:
    """Return the rank of each name in the order of the numbers that they stand for.

    Names that differ in one number alone count as numbers: class_1, class_10, class_2. So do the
        English words for 0 to 20: folders called one, two and zero beside a list 0, 1, 2.

    Returns:
        None if they are not numbers.

    Raises:
        UserError: two names are the same number, such as 1 and 01.
    """
    numbers = _numbers(names)
    if numbers is None:
        return None
    order = sorted(range(len(names)), key=numbers.__getitem__)
    for place, following in pairwise(order):
        if numbers[place] == numbers[following]:
            raise UserError(
                f"the data's labels {names[place]!r} and {names[following]!r} are one number, so "
                "their order is not known; rename one, or map label: name in prompts.classes"
            )
    ranks = [0] * len(names)
    for rank, place in enumerate(order):
        ranks[place] = rank
    return ranks


def _numbers(names: Sequence[str]) -> list[Decimal] | None:
    if all(_NUMBER.fullmatch(name) for name in names):
        return [Decimal(name.strip()) for name in names]
    words = [_NUMBER_OF_WORD.get(name.strip().casefold()) for name in names]
    if names and None not in words:
        return [number for number in words if number is not None]
    parts = [_DIGITS.split(name) for name in names]
    if len({len(each) for each in parts}) != 1:
        return None
    differing = [place for place, each in enumerate(zip(*parts, strict=True)) if len(set(each)) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:  # text stands at the even places
        return None
    return [Decimal(each[differing[0]]) for each in parts]


def _numbers_in(name: str) -> list[Decimal]:
    return [Decimal(digits) for digits in _DIGITS.findall(name)]


def _is_ordered_as_read(names: Sequence[str]) -> bool:
    """Whether numbers in names are in numeric order: figure_2a before figure_10b."""
    keys = [
        [(Decimal(part), "") if odd % 2 else (Decimal(), part) for odd, part in enumerate(parts)]
        for parts in map(_DIGITS.split, names)
    ]
    return keys == sorted(keys)
