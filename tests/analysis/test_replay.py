"""Replays of made-up scores, against the plain replays of the papers' rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import replay as plain
from tests.support.pools import Pool
from zsd_ray.analysis.replay import replay
from zsd_ray.records.draw_table import Draws
from zsd_ray.rules.clark_jaini import ClarkJaini
from zsd_ray.rules.every_draw import EveryDraw
from zsd_ray.rules.li_stages import LiStages

N_DRAWS, N_CLASSES = 120, 7


def pool(seed, gap=0.3):
    return Pool(1, N_CLASSES, N_DRAWS, seed, gap)


def draws_of(made):
    none = np.zeros(N_DRAWS)
    return Draws.of(none, none, none, made.weights[0])


@pytest.mark.full
@given(st.integers(0, 10_000), st.integers(2, 30), st.sampled_from([0.1, 0.01, 0.001]))
def test_clark_and_jaini(seed, min_scores, p_value):
    made = pool(seed)
    found = replay(ClarkJaini(min_scores, N_DRAWS, p_value), made.errors[0], draws_of(made))
    expected = plain.clark_jaini(
        lambda draw, k: made.score(0, draw, k), N_CLASSES, min_scores, N_DRAWS, p_value
    )
    assert found.ranking[0] == expected.prediction
    assert list(found.draws_per_class) == expected.draws_per_class


@given(st.integers(0, 10_000))
def test_li_and_others(seed):
    made = pool(seed)
    found = replay(LiStages((4, 2, 1), (10, 30, 70)), made.errors[0], draws_of(made))
    expected = plain.li_stages(
        lambda draw, k: made.score(0, draw, k), N_CLASSES, [4, 2, 1], [10, 30, 70]
    )
    assert found.ranking[0] == expected.prediction
    assert list(found.draws_per_class) == expected.draws_per_class


def test_every_draw_takes_the_least_mean():
    made = pool(1)
    found = replay(EveryDraw(50), made.errors[0], draws_of(made))
    scores = made.weights[0, :50, None] * made.errors[0, :50]
    assert found.ranking[0] == scores.mean(axis=0).argmin()
    assert found.mean_scores == pytest.approx(scores.mean(axis=0))


@given(st.integers(0, 10_000))
def test_what_a_rule_saw_is_enough_for_it_and_one_score_less_is_not(seed):
    made = pool(seed)
    rule = ClarkJaini(5, N_DRAWS, 0.01)
    whole = replay(rule, made.errors[0], draws_of(made))
    given_K = np.array(whole.draws_per_class)
    seen = np.where(np.arange(N_DRAWS)[:, None] < given_K, made.errors[0], np.float32(np.nan))
    seen = seen[: whole.n_draws]
    again = replay(rule, seen, draws_of(made)[: whole.n_draws])
    assert repr(again) == repr(whole)
    for class_ in range(N_CLASSES):
        less = seen.copy()
        less[given_K[class_] - 1, class_] = np.nan
        assert replay(rule, less, draws_of(made)[: whole.n_draws]) is None
    assert replay(rule, seen[:-1], draws_of(made)[: whole.n_draws - 1]) is None


def test_candidates_race_alone():
    made = pool(3)
    candidates = np.array([1, 4, 5], dtype=np.int32)
    rule = ClarkJaini(5, N_DRAWS, 0.01)
    only = np.full_like(made.errors[0], np.nan)
    only[:, candidates] = made.errors[0][:, candidates]
    found = replay(rule, only, draws_of(made), candidates)
    narrow = replay(rule, made.errors[0][:, candidates], draws_of(made))
    assert found.ranking == tuple(candidates[list(narrow.ranking)].tolist())
    assert [found.draws_per_class[k] for k in candidates] == list(narrow.draws_per_class)
    assert sum(found.draws_per_class) == sum(narrow.draws_per_class)
    assert replay(rule, only, draws_of(made)) is None


def test_one_candidate_is_decided_without_a_draw():
    alone = np.array([4], dtype=np.int32)
    nothing = np.zeros((0, N_CLASSES), dtype=np.float32), Draws.blank(0)
    outcome = replay(EveryDraw(10), *nothing, candidates=alone)
    assert (outcome.ranking, outcome.n_draws) == ((4,), 0)
