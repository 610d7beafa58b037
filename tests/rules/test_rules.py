"""Every rule keeps the contract, and decides as a plain replay of its paper does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import replay
from tests.support.pools import Pool
from tests.support.profiles import examples
from zsd_ray.records.scores import WorkItem
from zsd_ray.rules.anytime import AnytimePruning
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.rules.halving import HalvingPruning
from zsd_ray.rules.li_stages import LiPruning
from zsd_ray.rules.paired_t import PairedTPruning
from zsd_ray.scheduling.elimination import Elimination

CONFIGS = [
    ClarkJainiPruning(min_scores=5, max_scores=60, p_value=0.01),
    ClarkJainiPruning(min_scores=2, max_scores=2, p_value=0.5),
    LiPruning(rule="li", keep=[3, 1], draws=[4, 20]),
    LiPruning(rule="li", keep=[2], draws=[7]),
    NoPruning(rule="none", draws=9),
    ClarkJainiPruning(min_scores=5, max_scores=60, p_value=0.01, indifference=0.5),
    LiPruning(rule="li", keep=[3, 1], draws=[4, 20], indifference=0.5),
    HalvingPruning(rule="halving", min_draws=3, growth=1.5, keep=0.7, max_draws=40),
    PairedTPruning(rule="t-test", max_draws=60, growth=1.3, p_value=0.01),
    PairedTPruning(rule="t-test", max_draws=60, moderated=False, indifference=0.4),
    AnytimePruning(max_draws=60, growth=1.0, indifference=None),
    AnytimePruning(max_draws=60),
    AnytimePruning(min_draws=6, max_draws=60, moderated=False, growth=1.0),
]
N_CLASSES = 5


def decide(config, pool, image, n_classes):
    """Feed one image draw by draw."""
    elimination = Elimination(config.make(n_classes), n_classes, keep_raw=False)
    while elimination.outcome is None:
        for draw, n, classes in elimination.wanted():
            item = WorkItem(image, draw, n, classes)
            elimination.add(item, pool.answer(item))
    return elimination.outcome


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
class TestContract:
    @given(data=st.data())
    def test_a_look_keeps_at_least_one_class_and_the_best(self, config, data):
        rule = config.make(N_CLASSES)
        n, n_classes = rule.next_look(0), data.draw(st.integers(1, 6))
        seed = data.draw(st.integers(0, 2**32 - 1))
        scores = np.random.default_rng(seed).normal(size=(n, n_classes))
        verdict = rule.look(scores, 0)
        assert verdict.n_draws == n
        assert verdict.keep.shape == (n_classes,)
        assert verdict.keep[scores.mean(axis=0).argmin()]

    def test_looks_move_forward_and_end(self, config):
        rule = config.make(N_CLASSES)
        n = rule.next_look(0)
        assert n >= 1
        tied = np.tile(np.random.default_rng(0).normal(size=(rule.max_draws, 1)), 4)
        verdict = rule.look(tied[:n], 0)
        while verdict.stop_reason is None:
            assert verdict.n_draws == n
            assert rule.next_look(n) > n
            before, n = n, rule.next_look(n)
            verdict = rule.look(tied[:n], before)
        assert n == rule.max_draws or verdict.stop_reason == "indifferent"

    @given(data=st.data())
    def test_many_looks_at_once_are_those_one_by_one(self, config, data):
        rule = config.make(N_CLASSES)
        seed = data.draw(st.integers(0, 2**32 - 1))
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(rule.max_draws, 5)) + rng.uniform(0, 1, size=5)
        available = data.draw(st.integers(rule.next_look(0), rule.max_draws))
        at_once = rule.look(scores[:available], 0)
        seen, one = 0, None
        while one is None or (one.keep.all() and one.stop_reason is None):
            if one is not None and rule.next_look(seen) > available:
                break
            one = rule.look(scores[: rule.next_look(seen)], seen)
            seen = one.n_draws
        while at_once.n_draws < seen:  # a rule may also take its looks in several calls
            assert at_once.keep.all()
            at_once = rule.look(scores[:available], at_once.n_draws)
        assert at_once.n_draws == one.n_draws
        assert at_once.keep.tolist() == one.keep.tolist()
        assert at_once.stop_reason == one.stop_reason

    def test_one_class_is_decided_at_the_first_look(self, config):
        rule = config.make(N_CLASSES)
        verdict = rule.look(np.random.default_rng(0).normal(size=(rule.next_look(0), 1)), 0)
        assert verdict.stop_reason is not None


@examples(40)
@given(
    seed=st.integers(0, 10_000),
    n_classes=st.integers(2, 6),
    min_scores=st.integers(2, 25),
    extra=st.integers(0, 40),
    p_value=st.sampled_from([0.05, 2e-3, 1e-6]),
)
def test_clark_jaini_equals_the_plain_replay(seed, n_classes, min_scores, extra, p_value):
    config = ClarkJainiPruning(
        min_scores=min_scores, max_scores=min_scores + extra, p_value=p_value
    )
    pool = Pool(1, n_classes, config.max_scores, seed)
    outcome = decide(config, pool, 0, n_classes)
    expected = replay.clark_jaini(
        lambda draw, k: pool.score(0, draw, k), n_classes, min_scores, config.max_scores, p_value
    )
    assert outcome.ranking[0] == expected.prediction
    assert list(outcome.draws_per_class) == expected.draws_per_class
    assert outcome.n_draws == expected.n_draws


@examples(40)
@given(seed=st.integers(0, 10_000), n_classes=st.integers(2, 8))
def test_li_equals_the_plain_replay(seed, n_classes):
    config = LiPruning(rule="li", keep=[4, 2, 1], draws=[3, 10, 30])
    pool = Pool(1, n_classes, 30, seed)
    outcome = decide(config, pool, 0, n_classes)
    expected = replay.li_stages(
        lambda draw, k: pool.score(0, draw, k), n_classes, config.keep, config.draws
    )
    assert outcome.ranking[0] == expected.prediction
    assert list(outcome.draws_per_class) == expected.draws_per_class


@examples(40)
@given(seed=st.integers(0, 10_000), n_classes=st.integers(2, 9))
def test_halving_equals_the_plain_replay(seed, n_classes):
    config = HalvingPruning(rule="halving", min_draws=3, growth=1.7, keep=0.6, max_draws=30)
    pool = Pool(1, n_classes, 30, seed)
    outcome = decide(config, pool, 0, n_classes)
    expected = replay.halving(lambda draw, k: pool.score(0, draw, k), n_classes, 3, 1.7, 0.6, 30)
    assert outcome.ranking[0] == expected.prediction
    assert list(outcome.draws_per_class) == expected.draws_per_class


@examples(40)
@given(
    seed=st.integers(0, 10_000),
    n_classes=st.integers(2, 6),
    first=st.integers(2, 10),
    p_value=st.sampled_from([0.05, 2e-3]),
)
def test_the_paired_t_test_equals_the_plain_replay(seed, n_classes, first, p_value):
    config = PairedTPruning(
        rule="t-test", min_draws=first, max_draws=40, moderated=False, p_value=p_value
    )
    pool = Pool(1, n_classes, 40, seed)
    outcome = decide(config, pool, 0, n_classes)
    expected = replay.paired_t(
        lambda draw, k: pool.score(0, draw, k), n_classes, first, 40, p_value
    )
    assert outcome.ranking[0] == expected.prediction
    assert list(outcome.draws_per_class) == expected.draws_per_class


@examples(60)
@given(
    seed=st.integers(0, 10_000),
    n_classes=st.integers(2, 8),
    first=st.integers(2, 5),
    moderated=st.booleans(),
    alpha=st.sampled_from([0.3, 0.05]),
    growth=st.sampled_from([1.0, 1.3]),
    indifference=st.sampled_from([None, 0.7]),
)
def test_the_anytime_rule_equals_the_plain_replay(
    seed, n_classes, first, moderated, alpha, growth, indifference
):
    config = AnytimePruning(
        min_draws=first,
        max_draws=40,
        alpha=alpha,
        moderated=moderated,
        growth=growth,
        indifference=indifference,
    )
    pool = Pool(1, n_classes, 40, seed, gap=0.6)
    outcome = decide(config, pool, 0, n_classes)
    expected = replay.anytime(
        lambda draw, k: pool.score(0, draw, k),
        n_classes,
        first,
        40,
        alpha,
        config.scale,
        moderated,
        growth,
        indifference,
    )
    assert list(outcome.draws_per_class) == expected.draws_per_class
    assert outcome.ranking[0] == expected.prediction
    assert outcome.n_draws == expected.n_draws


def test_indifference_stops_at_a_tie_and_not_at_a_clear_gap():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(400, 2))
    config = AnytimePruning(max_draws=400, indifference=0.25)
    rule = config.make(2)

    def run(scores):
        seen = 0
        while True:
            verdict = rule.look(scores[: rule.next_look(seen)], seen)
            seen = verdict.n_draws
            if verdict.stop_reason is not None:
                return verdict

    tie = run(noise)
    assert tie.stop_reason == "indifferent"
    assert tie.n_draws < 400
    assert tie.keep.all()
    assert run(noise + [0.0, 1.5]).stop_reason == "one-class-left"  # noqa: RUF005


def test_clark_jaini_treats_equal_and_constant_differences_as_scipy_does():
    rule = ClarkJainiPruning(min_scores=2, max_scores=50, p_value=0.002).make(2)
    base = np.random.default_rng(1).normal(size=(5, 1))
    same = rule.look(np.hstack([base, base]), 4)
    assert same.keep.all()  # t = 0/0
    # scipy gives p = 0 where every difference is the same number, to rounding
    exact = np.arange(5.0)[:, None]
    shifted = rule.look(np.hstack([exact, exact + 1.0]), 4)
    assert shifted.keep.tolist() == [True, False]
    assert shifted.stop_reason == "one-class-left"


def test_clark_jaini_says_why_it_stopped():
    rule = ClarkJainiPruning(min_scores=2, max_scores=4, p_value=1e-9).make(3)
    scores = np.random.default_rng(2).normal(size=(4, 3))
    assert rule.look(scores[:3], 2).stop_reason is None
    assert rule.look(scores, 3).stop_reason == "max-scores"
