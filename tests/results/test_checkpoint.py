"""A checkpoint holds what the elimination knows, to the last bit."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.pools import Pool
from zsd_ray.engine.elimination import Elimination
from zsd_ray.results.checkpoint import Checkpoint
from zsd_ray.spec.pruning import ClarkJainiPruning
from zsd_ray.spec.records import WorkItem
from zsd_ray.stats.rules import make_rule

N_CLASSES, N_DRAWS = 5, 40
RULE = make_rule(ClarkJainiPruning(min_scores=4, max_scores=N_DRAWS, p_value=0.05))


def feed(elimination, pool, draws):
    for draw in draws:
        if elimination.outcome is None:
            item = WorkItem(0, draw, 1, tuple(elimination.survivors.tolist()))
            elimination.add(item, pool.answer(item))


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), cut=st.integers(1, N_DRAWS - 1), hole=st.booleans())
@example(seed=1, cut=8, hole=True)
def test_an_elimination_goes_on_from_a_checkpoint_as_if_nothing_had_been(seed, cut, hole):
    pool = Pool(1, N_CLASSES, N_DRAWS, seed)
    whole = Elimination(RULE, N_CLASSES, keep_raw=True)
    feed(whole, pool, range(N_DRAWS))
    first = Elimination(RULE, N_CLASSES, keep_raw=True)
    feed(first, pool, range(cut))
    if hole:  # part of a later draw has come in, or all of it
        item = WorkItem(0, cut, 1, (0, 2))
        first.add(item, pool.answer(item))
    if first.outcome is not None:
        return
    written = Checkpoint([first.state("a", 7, 1.5)], "session/0", {"n_scored": 3}).to_bytes()
    read = Checkpoint.from_bytes(written)
    assert (read.writer, read.counters) == ("session/0", {"n_scored": 3})
    (state,) = read.states
    assert (state.image_id, state.n_spent, state.seconds) == ("a", 7, 1.5)
    second = Elimination(RULE, N_CLASSES, keep_raw=True, state=state)
    wanted = {
        (draw, class_)
        for start, n, classes in second.wanted()
        for draw in range(start, start + n)
        for class_ in classes
    }
    assert len(wanted) == second.missing
    assert all(second.is_needed(*cell) for cell in wanted)
    for draw, class_ in wanted:
        item = WorkItem(0, draw, 1, (class_,))
        second.add(item, pool.answer(item))
    feed(second, pool, range(second.n_draws, N_DRAWS))
    assert second.outcome == whole.outcome


def test_what_was_scored_is_not_wanted_again():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=1)
    elimination = Elimination(RULE, N_CLASSES, keep_raw=False)
    item = WorkItem(0, 0, 2, (1, 3))
    elimination.add(item, pool.answer(item))
    again = Elimination(RULE, N_CLASSES, keep_raw=False, state=elimination.state("a", 4, 0.0))
    assert list(again.wanted()) == [(0, 2, (0, 2, 4)), (2, 2, (0, 1, 2, 3, 4))]


def test_a_state_shares_no_memory_with_the_elimination():
    pool = Pool(1, N_CLASSES, N_DRAWS, seed=2)
    elimination = Elimination(RULE, N_CLASSES, keep_raw=True)
    feed(elimination, pool, range(5))
    state = elimination.state("a", 0, 0.0)
    copies = {name: np.copy(getattr(state, name)) for name in ("errors", "table", "means", "draws")}
    feed(elimination, pool, range(5, 12))
    for name, copy in copies.items():
        np.testing.assert_array_equal(getattr(state, name), copy)


def test_an_empty_checkpoint_and_one_that_is_none():
    assert Checkpoint.from_bytes(Checkpoint([], "s", {}).to_bytes()) == Checkpoint([], "s", {})
    with pytest.raises(Exception, match="Parquet"):
        Checkpoint.from_bytes(b"no checkpoint")
