"""Shape bias against counts by hand and a plain loop."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.reliability import Measured
from zsd_ray.studies.cue_conflict.shape_bias_counts import CueDecisions, shape_bias

NAMES = ("bear", "cat", "oven", "na")

images = st.lists(
    st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from(NAMES[:3]), st.sampled_from(NAMES))
)


def test_by_hand() -> None:
    rows = [
        ("cat", "bear", "cat"),
        ("cat", "bear", "cat"),
        ("cat", "oven", "oven"),
        ("cat", "oven", "bear"),  # neither
        ("bear", "cat", "bear"),
        ("bear", "cat", ""),  # no answer
        ("oven", "oven", "oven"),  # no conflict: counts nowhere
        ("oven", "cat", "bear"),
    ]
    found = shape_bias(*zip(*rows, strict=True))
    assert (found.overall.n, found.overall.shape, found.overall.texture) == (7, 3, 1)
    assert found.overall.shape_accuracy == Measured(3 / 7, *wilson(3, 7))
    assert found.overall.texture_accuracy == Measured(1 / 7, *wilson(1, 7))
    assert found.overall.shape_bias == Measured(0.75, *wilson(3, 4))
    assert list(found.of_class) == ["bear", "cat", "oven"]
    assert found.of_class["cat"] == CueDecisions.of(4, 2, 1)
    assert found.of_class["bear"] == CueDecisions.of(2, 1, 0)
    oven = found.of_class["oven"]
    assert (oven.n, oven.shape_bias) == (1, None)
    assert oven.shape_accuracy == Measured(0.0, *wilson(0, 1))


@given(images)
def test_counts_are_those_of_a_loop(rows: list[tuple[str, str, str]]) -> None:
    counts: dict[str, Counter[str]] = {}
    for shape, texture, answer in rows:
        if shape != texture:
            own = counts.setdefault(shape, Counter())
            own["n"] += 1
            own["shape"] += answer == shape
            own["texture"] += answer == texture
    found = shape_bias(*([row[i] for row in rows] for i in range(3)))
    assert found.of_class == {
        name: CueDecisions.of(*(own[kind] for kind in ("n", "shape", "texture")))
        for name, own in sorted(counts.items())
    }
    total = sum(counts.values(), Counter())
    assert found.overall == CueDecisions.of(total["n"], total["shape"], total["texture"])


def test_nothing_has_no_bias() -> None:
    found = shape_bias([], [], [])
    assert found.overall == CueDecisions(0, 0, 0, None, None, None)
    assert found.of_class == {}
    agreeing = shape_bias(["cat"], ["cat"], ["cat"])
    assert (agreeing.overall.n, agreeing.of_class) == (0, {})


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="came 2, 2 and 1"):
        shape_bias(["cat", "bear"], ["bear", "cat"], ["cat"])
