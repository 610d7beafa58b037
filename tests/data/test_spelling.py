"""Lists that are the data's own names in other spelling: by order, they would be swapped."""

from __future__ import annotations

import unicodedata

import pytest

from zsd_ray.data.labels.classes import resolve_classes
from zsd_ray.records.errors import UserError

# The data's names in the order of their text, and the same names as people write them.
SPELLINGS = {
    "accents of two characters": (
        [unicodedata.normalize("NFD", name) for name in ("crêpe", "éclair")],
        ["crêpe", "éclair"],
    ),
    "CamelCase": (["AnnualCrop", "SeaLake"], ["annual crop", "sea lake"]),
    "a number before": (
        ["001.Black_footed_Albatross", "002.Laysan_Albatross"],
        ["Black footed Albatross", "Laysan Albatross"],
    ),
    "a WNID before": (
        ["n02085620-Chihuahua", "n02085936-Maltese_dog"],
        ["Chihuahua", "Maltese dog"],
    ),
    "dots": (["cat.burger", "hot.dog"], ["cat burger", "hot dog"]),
    "other spaces": (["cat burger", "hot dog"], ["cat  burger", "hot\u00a0dog"]),
    "an apostrophe": (["ladies' wear", "men's wear"], ["ladies\u2019 wear", "men\u2019s wear"]),
    "a sign of no width": (["cat", "dog"], ["cat\u200b", "dog\u200b"]),
    "an article": (["cat", "dog"], ["a cat", "a dog"]),
    "several": (["cat", "dog"], ["cats", "dogs"]),
    "cut short": (["February", "January"], ["Feb", "Jan"]),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_other_spelling_in_another_order_is_refused(name: str) -> None:
    labels, listed = SPELLINGS[name]
    with pytest.raises(UserError, match="spelled differently, in another order"):
        resolve_classes(listed[::-1], labels, [])


@pytest.mark.parametrize("name", SPELLINGS)
def test_other_spelling_in_the_order_of_the_data_is_taken(name: str) -> None:
    labels, listed = SPELLINGS[name]
    assert resolve_classes(listed, labels, []).of_label == (0, 1)


def test_other_names_are_no_other_spelling() -> None:
    """One word that two names share says nothing of their order."""
    for labels, listed in (
        (["car", "carpet"], ["automobile", "a car rug"]),
        (["men", "women"], ["shirts of men", "shirts of men and women"]),
        (["+", "-"], ["plus", "minus"]),
    ):
        assert resolve_classes(listed, labels, []).of_label == (0, 1)


@pytest.mark.filterwarnings("ignore:the data's")
def test_words_for_numbers_stand_in_the_order_of_numbers() -> None:
    """In the order of text, the folder "one" would be called "0"."""
    classes = resolve_classes(["0", "1", "2"], ["one", "two", "zero"], [])
    assert classes.of_label == (1, 2, 0)


@pytest.mark.filterwarnings("ignore:the data's")
def test_numbers_are_no_other_spelling_of_numbers() -> None:
    classes = resolve_classes(["1 a", "2 b", "10 c"], ["1", "10", "2"], [])
    assert classes.of_label == (0, 2, 1)
