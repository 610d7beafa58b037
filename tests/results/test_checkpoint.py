"""A checkpoint holds what the elimination knows, to the last bit."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.pools import Pool
from tests.support.profiles import examples
from zsd_ray.records.scores import WorkItem
from zsd_ray.results.rows.checkpoint import Checkpoint
from zsd_ray.rules.anytime import AnytimePruning
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.scheduling.elimination import Elimination

N_CLASSES, N_DRAWS = 5, 40
RULE = ClarkJainiPruning(min_scores=4, max_scores=N_DRAWS, p_value=0.05).make(N_CLASSES)
ANYTIME = AnytimePruning(max_draws=N_DRAWS, growth=1.0, indifference=None).make(N_CLASSES)

COUNTERS = {"n_scored": 3, "n_rows": 4, "n_micro_batches": 1, "n_retries": 0}


def feed(elimination, pool, n=10**6):
    """Answer what the next looks want, a draw at a time, `n` times at most."""
    while elimination.outcome is None and n > 0:
        cuts = list(elimination.wanted())
        assert cuts, "it waits for nothing"
        for first, n_draws, classes in cuts:
            for draw in range(first, first + n_draws)[:n]:
                item = WorkItem(0, draw, 1, classes)
                elimination.add(item, pool.answer(item))
                n -= 1


def wanted_cells(elimination):
    """Each (draw, class) that the next look waits for."""
    return {
        (draw, class_)
        for first, n, classes in elimination.wanted()
        for draw in range(first, first + n)
        for class_ in classes
    }


@pytest.mark.few(1)
@pytest.mark.parametrize("rule", [RULE, ANYTIME], ids=["paper", "anytime"])
@examples(60)
@given(seed=st.integers(0, 1000), cut=st.integers(1, N_DRAWS - 1), hole=st.booleans())
@example(seed=1, cut=8, hole=True)
def test_an_elimination_goes_on_from_a_checkpoint_as_if_nothing_had_been(rule, seed, cut, hole):
    pool = Pool(1, N_CLASSES, N_DRAWS, seed)
    whole = Elimination(rule, N_CLASSES, keep_raw=True)
    feed(whole, pool)
    first = Elimination(rule, N_CLASSES, keep_raw=True)
    feed(first, pool, cut)
    if hole:  # part of a later draw has come in, or all of it
        item = WorkItem(0, first.target - 1, 1, (0, 2))
        first.add(item, pool.answer(item))
    if first.outcome is not None:
        return
    written = Checkpoint([first.state("a", 7, 1.5)], "session/0", COUNTERS, "run").to_bytes()
    read = Checkpoint.read(written, "0.parquet", "run", N_CLASSES)
    assert (read.writer, read.counters, read.identity) == ("session/0", COUNTERS, "run")
    (state,) = read.states
    assert (state.image_id, state.n_spent, state.seconds) == ("a", 7, 1.5)
    second = Elimination(rule, N_CLASSES, keep_raw=True, state=state)
    wanted = wanted_cells(second)
    assert wanted == wanted_cells(first)
    assert len(wanted) == second.missing
    for draw, class_ in wanted:
        item = WorkItem(0, draw, 1, (class_,))
        second.add(item, pool.answer(item))
    feed(second, pool)
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
    feed(elimination, pool, 5)
    state = elimination.state("a", 0, 0.0)
    arrays = (state.errors, state.drawn.table, state.draws)
    copies = [np.copy(array) for array in arrays]
    feed(elimination, pool, 7)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_an_empty_checkpoint_and_one_that_is_none():
    assert Checkpoint.from_bytes(Checkpoint([], "s", {}).to_bytes()) == Checkpoint([], "s", {})
    with pytest.raises(Exception, match="Parquet"):
        Checkpoint.from_bytes(b"no checkpoint")


def test_a_checkpoint_of_an_earlier_version_is_read():
    state = Elimination(RULE, N_CLASSES, keep_raw=True).state("a", 7, 1.5)
    table = pq.read_table(pa.BufferReader(Checkpoint([state], "session/0", {}).to_bytes()))
    older = pa.BufferOutputStream()
    waiting = pa.array([[]], pa.list_(pa.int32()))  # of rules that let classes wait
    pq.write_table(table.drop_columns(["n_counted"]).append_column("waiting", waiting), older)
    (read,) = Checkpoint.from_bytes(older.getvalue().to_pybytes()).states
    assert (read.image_id, read.n_spent, read.n_counted) == ("a", 7, 0)
