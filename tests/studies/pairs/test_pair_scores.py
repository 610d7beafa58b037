import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsd_ray.stats.intervals import wilson
from zsd_ray.studies.pairs.pair_scores import CHANCE, pair_scores


def counts(errors):
    found = pair_scores(errors)
    return found.text.right, found.image.right, found.group.right


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([[1, 2], [2, 1]], (1, 1, 1)),
        ([[1, 2], [5, 4]], (1, 0, 0)),  # caption 1 has less error in image 0 than in its own
        ([[1, 5], [2, 4]], (0, 1, 0)),  # image 1 has less error with caption 0 than with its own
        ([[2, 1], [1, 2]], (0, 0, 0)),
        ([[1, 1], [2, 1]], (0, 0, 0)),  # equal errors decide nothing: text of 0, image of caption 1
        ([[1, 2], [1, 0]], (1, 0, 0)),  # a tie of images leaves the captions right
    ],
)
def test_each_score_asks_its_own_inequalities(errors, expected):
    assert counts([errors]) == expected


def plain(errors):
    """Equations 1 to 3 of the paper, with similarities s(C, I) = -errors[I][C]."""
    text = image = group = 0
    for each in errors:
        s = {(c, i): -each[i][c] for c in (0, 1) for i in (0, 1)}
        f = s[0, 0] > s[1, 0] and s[1, 1] > s[0, 1]
        g = s[0, 0] > s[0, 1] and s[1, 1] > s[1, 0]
        text, image, group = text + f, image + g, group + (f and g)
    return text, image, group


@given(arrays(float, st.tuples(st.integers(1, 6), st.just(2), st.just(2)),
              elements=st.integers(0, 4).map(float)))  # fmt: skip
def test_scores_are_the_papers(errors):
    assert counts(errors) == plain(errors.tolist())


def test_shares_have_their_interval():
    found = pair_scores([[[1, 2], [2, 1]]] * 3 + [[[2, 1], [1, 2]]])
    assert found.examples == 4
    assert found.group.share == 0.75
    assert found.group.interval == wilson(3, 4)


def test_what_chance_gives():
    errors = np.random.default_rng(0).standard_normal((40_000, 2, 2))
    found = pair_scores(errors)
    for name, chance in CHANCE.items():
        assert getattr(found, name).share == pytest.approx(chance, abs=0.01)


@pytest.mark.parametrize("errors", [np.zeros((0, 2, 2)), np.zeros((3, 2)), [[[1, 2], [np.nan, 1]]]])
def test_what_is_no_example_is_refused(errors):
    with pytest.raises(ValueError, match="needs"):
        pair_scores(errors)
