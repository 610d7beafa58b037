"""The vote against a plain count, and its ties."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.rules.vote import Vote, VotePruning


def plain_ranking(scores, levels):
    """Most votes, then the better mean rank, then the smaller number; exact arithmetic."""
    n_classes = len(scores[0])
    votes, ranks = [0] * n_classes, [Fraction(0)] * n_classes
    for level in range(levels):
        rows = scores[level::levels]
        total = [sum(Fraction(row[k]) for row in rows) for k in range(n_classes)]
        votes[total.index(min(total))] += 1
        for k in range(n_classes):
            below = sum(other < total[k] for other in total)
            equal = sum(other == total[k] for other in total)
            ranks[k] += below + Fraction(equal + 1, 2)
    return sorted(range(n_classes), key=lambda k: (-votes[k], ranks[k], k))


@given(data=st.data())
def test_the_ranking_is_that_of_a_plain_count(data):
    """Small whole numbers, so that ties are frequent."""
    levels = data.draw(st.integers(1, 5))
    draws = levels * data.draw(st.sampled_from([1, 2, 4]))
    n_classes = data.draw(st.integers(1, 6))
    row = st.lists(st.integers(0, 4), min_size=n_classes, max_size=n_classes)
    scores = data.draw(st.lists(row, min_size=draws, max_size=draws))
    verdict = Vote(levels, draws).look(np.array(scores, dtype=np.float64), 0)
    assert verdict.ranking.tolist() == plain_ranking(scores, levels)
    assert verdict.n_draws == draws
    assert verdict.keep.all()
    assert verdict.stop_reason == "vote"


def ranking(scores, levels):
    scores = np.array(scores, dtype=np.float64)
    return Vote(levels, len(scores)).look(scores, 0).ranking.tolist()


def test_the_majority_beats_the_least_mean():
    assert ranking([[1, 2], [1, 2], [99, 2]], levels=3) == [0, 1]


def test_a_tie_of_votes_goes_to_the_better_mean_rank_and_then_to_the_first():
    assert ranking([[1, 3, 2], [3, 1, 2]], levels=2) == [0, 1, 2]
    # One vote for class 0 and one for class 1, which is second where 0 won, and 0 third.
    assert ranking([[1, 2, 3], [3, 1, 2]], levels=2) == [1, 0, 2]


def test_draws_of_one_level_are_averaged():
    """Draws 0 and 2 are of the first level, 1 and 3 of the second."""
    scores = [[0, 1], [0, 1], [9, 1], [0, 1]]
    of_levels = [[4.5, 1], [0, 1]]
    assert ranking(scores, levels=2) == ranking(of_levels, levels=2) == [0, 1]
    assert ranking([[0, 1], [9, 1], [0, 1], [9, 8]], levels=2) == [0, 1]
    assert ranking([[0, 1], [9, 1], [9, 1], [0, 1]], levels=2) == [1, 0]


def test_it_looks_once_and_not_at_draws_behind():
    rule = VotePruning(rule="vote", levels=2, draws=4).make(n_classes=3)
    assert rule.next_look(0) == rule.max_draws == 4
    scores = np.random.default_rng(0).normal(size=(9, 3))
    ahead, exact = rule.look(scores, 0), rule.look(scores[:4], 0)
    assert ahead.ranking.tolist() == exact.ranking.tolist()
    assert ahead.n_draws == 4


def test_draws_are_whole_rounds_of_levels():
    with pytest.raises(ValueError, match=r"multiple of levels"):
        VotePruning(rule="vote", levels=3, draws=4)
