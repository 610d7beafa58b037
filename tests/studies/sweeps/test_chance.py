"""The exact binomial test, against sums over all outcomes."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.studies.sweeps.chance import beats_chance


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.5, 0.25, 0.1, 1 / 6]),
)
def test_p_is_the_chance_of_all_that_is_no_likelier(count: tuple[int, int], chance: float) -> None:
    correct, n = count
    pmf = [comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(n + 1)]
    expected = sum(p for p in pmf if p <= pmf[correct] * (1 + 1e-7))
    assert beats_chance(correct, n, chance) == pytest.approx(min(1.0, expected), rel=1e-9)


def test_both_sides_count() -> None:
    assert beats_chance(60, 100, 0.5) == pytest.approx(beats_chance(40, 100, 0.5))
    assert beats_chance(60, 100, 0.5) == pytest.approx(0.0569, abs=5e-5)
    assert beats_chance(50, 100, 0.5) == 1.0
    assert beats_chance(0, 0, 0.5) == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((3, 2, 0.5), "came 3 of 2"), ((-1, 2, 0.5), "came -1 of 2"), ((1, 2, 1.0), "came 1.0")],
)
def test_what_is_impossible_is_named(arguments: tuple[int, int, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        beats_chance(*arguments)
