"""The elimination of one image does not depend on how its work was cut or in what order it came."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pools import Pool
from tests.support.profiles import examples
from zsd_ray.records.scores import WorkItem
from zsd_ray.rules.anytime import AnytimePruning
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.rules.li_stages import LiPruning
from zsd_ray.scheduling.elimination import Elimination
from zsd_ray.stats.class_offset import SCALE_DRAWS, draw_scale

N_CLASSES, N_DRAWS = 5, 40
RULES = [
    ClarkJainiPruning(min_scores=4, max_scores=N_DRAWS, p_value=0.05),
    LiPruning(rule="li", keep=[3, 1], draws=[6, 25]),
    AnytimePruning(max_draws=N_DRAWS, alpha=0.3, growth=1.0, indifference=None),
]


def in_order(config, pool):
    elimination = Elimination(config.make(N_CLASSES), N_CLASSES, keep_raw=True)
    while elimination.outcome is None:
        cuts = list(elimination.wanted())
        assert cuts, "it waits for nothing"
        for cut in cuts:
            item = WorkItem(0, *cut)
            elimination.add(item, pool.answer(item))
    return elimination.outcome


@examples(60)
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
    elimination = Elimination(config.make(N_CLASSES), N_CLASSES, keep_raw=True)
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


@pytest.mark.parametrize("config", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_gaps_are_over_the_draws_that_a_class_and_the_prediction_both_had(config, seed):
    pool = Pool(1, N_CLASSES, N_DRAWS, seed, gap=0.8)
    outcome = in_order(config, pool)
    assert len(set(outcome.draws_per_class)) > 1
    best = outcome.ranking[0]
    for k, gap, error in zip(range(N_CLASSES), outcome.gaps, outcome.gap_errors, strict=True):
        both = range(min(outcome.draws_per_class[k], outcome.draws_per_class[best]))
        gaps = [pool.score(0, draw, k) - pool.score(0, draw, best) for draw in both]
        assert gap == pytest.approx(statistics.mean(gaps), rel=1e-9)
        assert error == pytest.approx(statistics.stdev(gaps) / math.sqrt(len(gaps)), rel=1e-9)


def test_a_gap_of_one_draw_has_no_error():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=6)
    outcome = in_order(LiPruning(rule="li", keep=[2, 1], draws=[1, 3]), pool)
    assert sorted(outcome.draws_per_class) == [1, 1, 1, 3, 3]
    for k, draws in enumerate(outcome.draws_per_class):
        assert math.isfinite(outcome.gaps[k])
        assert math.isnan(outcome.gap_errors[k]) == (draws == 1)


def test_what_is_wanted_is_what_the_survivors_lack():
    """Cell by cell, at every look, also where part of a draw is known."""
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=7, gap=0.1)
    elimination = Elimination(RULES[2].make(N_CLASSES), N_CLASSES, keep_raw=False)
    known, n_looks = set(), 0
    while elimination.outcome is None:
        lacking = {(d, k) for d in range(elimination.target) for k in elimination.classes} - known
        cuts = list(elimination.wanted())
        cells = [(d, k) for first, n, ks in cuts for d in range(first, first + n) for k in ks]
        assert len(cells) == len(set(cells)) == elimination.missing
        assert set(cells) == lacking
        n_looks += 1
        known |= lacking
        for cut in cuts:
            item = WorkItem(0, *cut)
            elimination.add(item, pool.answer(item))
        if elimination.outcome is None:  # half of the next draw comes by itself
            draw, half = elimination.target - 1, elimination.classes[::2]
            elimination.add(WorkItem(0, draw, 1, half), pool.answer(WorkItem(0, draw, 1, half)))
            known |= {(draw, k) for k in half}
    assert n_looks > 10


def test_scores_after_the_decision_change_nothing():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=5)
    elimination = Elimination(RULES[1].make(N_CLASSES), N_CLASSES, keep_raw=False)
    item = WorkItem(0, 0, N_DRAWS, tuple(range(N_CLASSES)))
    elimination.add(item, pool.answer(item))
    before = elimination.outcome
    assert before is not None
    elimination.add(item, pool.answer(item))
    assert elimination.outcome is before


@pytest.mark.parametrize("config", RULES)
def test_a_race_among_candidates_is_that_of_a_run_of_these_classes_alone(config):
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=8)
    candidates = np.array([0, 2, 3], dtype=np.int32)
    rule = config.make(3)
    elimination = Elimination(rule, N_CLASSES, True, candidates=candidates)
    alone = Elimination(rule, 3, keep_raw=True)
    for draw in range(N_DRAWS):
        if elimination.outcome is None:
            item = WorkItem(0, draw, 1, tuple(elimination.survivors.tolist()))
            elimination.add(item, pool.answer(item))
            columns = np.searchsorted(candidates, item.classes)
            alone.add(WorkItem(0, draw, 1, tuple(columns.tolist())), pool.answer(item))
    outcome, expected = elimination.outcome, alone.outcome
    assert outcome.ranking == tuple(candidates[list(expected.ranking)].tolist())
    assert outcome.stop_reason == expected.stop_reason
    for name in ("mean_scores", "gaps", "gap_errors", "draws_per_class"):
        of_candidates = [getattr(outcome, name)[k] for k in candidates]
        np.testing.assert_array_equal(of_candidates, getattr(expected, name))
    for k in (1, 4):
        assert outcome.draws_per_class[k] == 0
        assert np.isnan([outcome.mean_scores[k], outcome.gaps[k], outcome.gap_errors[k]]).all()


def test_one_candidate_is_the_outcome_without_draws():
    alone = np.array([3], dtype=np.int32)
    outcome = Elimination(RULES[0].make(N_CLASSES), N_CLASSES, True, candidates=alone).outcome
    assert (outcome.ranking, outcome.n_draws, outcome.n_scores, outcome.raw) == ((3,), 0, 0, ())
    assert outcome.stop_reason == "one-class-left"
    np.testing.assert_array_equal(outcome.gaps, [np.nan, np.nan, np.nan, 0, np.nan])


OFFSET = np.array([0.3, -0.2, 0.0, 0.5, -0.6])
WITH_OFFSET = ClarkJainiPruning(min_scores=SCALE_DRAWS, max_scores=N_DRAWS, p_value=0.05)


def decided_with(offset, pool, config=WITH_OFFSET):
    elimination = Elimination(config.make(N_CLASSES), N_CLASSES, True, offset=offset)
    while elimination.outcome is None:
        for cut in list(elimination.wanted()):
            item = WorkItem(0, *cut)
            elimination.add(item, pool.answer(item))
    return elimination.outcome


def test_an_offset_is_taken_out_of_every_score_in_the_units_of_the_first_draws():
    """Against the same race over scores from which it was taken before."""
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=4)
    answer = pool.answer(WorkItem(0, 0, N_DRAWS, tuple(range(N_CLASSES))))
    scores = answer.draws.scores(answer.errors)
    ahead = draw_scale(scores[:SCALE_DRAWS]) * OFFSET
    rule = NoPruning(rule="none", draws=N_DRAWS).make(N_CLASSES)
    found = decided_with(OFFSET, pool, NoPruning(rule="none", draws=N_DRAWS))
    expected = (scores - ahead).mean(axis=0)
    np.testing.assert_allclose(found.mean_scores, expected, rtol=1e-12)
    assert found.ranking == tuple(np.argsort(expected).tolist())
    assert found.uncorrected == scores.mean(axis=0).argmin()
    assert rule.max_draws == found.n_draws


def test_no_offset_is_an_offset_of_nothing():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=5)
    plain, zero = decided_with(None, pool), decided_with(np.zeros(N_CLASSES), pool)
    assert plain.uncorrected is None
    assert zero.uncorrected == zero.ranking[0]
    assert zero.ranking == plain.ranking
    assert zero.draws_per_class == plain.draws_per_class
    np.testing.assert_array_equal(zero.mean_scores, plain.mean_scores)


@pytest.mark.parametrize("config", [WITH_OFFSET, AnytimePruning(min_draws=10, max_draws=N_DRAWS)])
@pytest.mark.parametrize("seed", range(6))
def test_an_offset_survives_a_checkpoint_to_the_last_bit(config, seed):
    pool = Pool(1, N_CLASSES, N_DRAWS, seed)
    expected = decided_with(OFFSET, pool, config)
    rule = config.make(N_CLASSES)
    elimination = Elimination(rule, N_CLASSES, True, offset=OFFSET)
    while elimination.outcome is None:
        state = elimination.state("image", 0, 0.0)
        elimination = Elimination(rule, N_CLASSES, True, state, offset=OFFSET)
        for cut in list(elimination.wanted()):
            item = WorkItem(0, *cut)
            elimination.add(item, pool.answer(item))
    assert repr(elimination.outcome) == repr(expected)
