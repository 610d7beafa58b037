"""The elimination of one image does not depend on how its work was cut or in what order it came."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pools import Pool
from zsd_ray.engine.elimination import Elimination
from zsd_ray.spec.pruning import ClarkJainiPruning, LiPruning
from zsd_ray.spec.records import WorkItem
from zsd_ray.stats.rules import make_rule

N_CLASSES, N_DRAWS = 5, 40
RULES = [
    ClarkJainiPruning(min_scores=4, max_scores=N_DRAWS, p_value=0.05),
    LiPruning(rule="li", keep=[3, 1], draws=[6, 25]),
]


def in_order(config, pool):
    elimination = Elimination(make_rule(config), N_CLASSES, keep_raw=True)
    for draw in range(N_DRAWS):
        if elimination.outcome is None:
            item = WorkItem(0, draw, 1, tuple(elimination.survivors.tolist()))
            elimination.add(item, pool.answer(item))
    return elimination.outcome


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), shuffle=st.integers(0, 2**32 - 1), config=st.sampled_from(RULES))
def test_any_order_any_cut_and_repeats_give_the_same_outcome(seed, shuffle, config):
    pool = Pool(1, N_CLASSES, N_DRAWS, seed)
    expected = in_order(config, pool)
    rng = np.random.default_rng(shuffle)
    items = []
    for draw in range(N_DRAWS):  # every draw for every class: far ahead of what the rule asks
        classes = rng.permutation(N_CLASSES)
        cut = rng.integers(1, N_CLASSES + 1)
        for part in (classes[:cut], classes[cut:]):
            if len(part):
                items.append(WorkItem(0, draw, 1, tuple(sorted(part.tolist()))))
    items += [items[i] for i in rng.integers(len(items), size=10)]
    elimination = Elimination(make_rule(config), N_CLASSES, keep_raw=True)
    for index in rng.permutation(len(items)):
        elimination.add(items[index], pool.answer(items[index]))
    assert elimination.outcome == expected


def test_raw_draws_are_exactly_what_the_rule_used():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=3)
    outcome = in_order(RULES[0], pool)
    assert [raw.draw for raw in outcome.raw] == list(range(outcome.n_draws))
    assert sum(len(raw.classes) for raw in outcome.raw) == outcome.n_scores
    for raw in outcome.raw:
        expected = [k for k in range(N_CLASSES) if outcome.draws_per_class[k] > raw.draw]
        assert list(raw.classes) == expected
        assert raw.weight == pool.weights[0, raw.draw]
        np.testing.assert_array_equal(np.float32(raw.eps_error), pool.errors[0, raw.draw][expected])


def test_mean_scores_are_over_the_draws_of_each_class():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=4)
    outcome = in_order(RULES[0], pool)
    for k in range(N_CLASSES):
        scores = [pool.score(0, draw, k) for draw in range(outcome.draws_per_class[k])]
        assert outcome.mean_scores[k] == pytest.approx(np.mean(scores), rel=1e-12)
    lasted = [outcome.draws_per_class[k] for k in outcome.ranking]
    assert lasted == sorted(lasted, reverse=True)


def test_scores_after_the_decision_change_nothing():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=5)
    elimination = Elimination(make_rule(RULES[1]), N_CLASSES, keep_raw=False)
    item = WorkItem(0, 0, N_DRAWS, tuple(range(N_CLASSES)))
    elimination.add(item, pool.answer(item))
    before = elimination.outcome
    assert before is not None
    elimination.add(item, pool.answer(item))
    assert elimination.outcome is before
