"""The shell around the scheduler: pauses, silence, late voices, and its end and new beginning."""

import asyncio
import importlib
import time
from pathlib import Path

import numpy as np
import pytest
import ray

from tests.support.benchmark_programs import benchmarks
from tests.support.checkpoints import read_checkpoints
from tests.support.pools import Pool
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.results.rows import row_buffer
from zsd_ray.runtime import scheduler_actor
from zsd_ray.runtime.epochs import Claim
from zsd_ray.runtime.scheduler_actor import SchedulerShell
from zsd_ray.runtime.sink import Sink

__all__ = ["benchmarks"]

N_IMAGES = 6
BATCH = 40


@ray.remote
class Gate:
    """A sink that takes nothing until a file is there, as one whose store is away."""

    def __init__(self, gate):
        self.gate = Path(gate)
        self.parts = []

    def last(self, shard):
        return 0

    def open(self, shard, claim):
        return True

    def write(self, shard, claim, part):
        while not self.gate.exists():
            time.sleep(0.1)
        self.parts.append(part)

    def checkpoint(self, shard, claim, content):
        pass


def configure(tmp_path, n_images=N_IMAGES, **cluster):
    return parse_config(
        RunConfig,
        {
            "data": {"limit": n_images},
            "pruning": {"rule": "none", "draws": 4},
            "cluster": {"batch_size": BATCH, **cluster},
            "output": {"path": str(tmp_path / "run"), "flush_seconds": 0.01},
            "tracking": {"mlflow": "off"},
        },
    )


@pytest.fixture
def pool():
    return Pool(1797, 10, 4, seed=0)


def shell(plan, sink):
    return SchedulerShell(plan, sink, 0, 1)


async def settled(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("this did not come about")


def test_while_rows_cannot_be_written_work_pauses_and_then_goes_on(
    local_ray, tmp_path, pool, monkeypatch
):
    monkeypatch.setattr(row_buffer, "_FULL_ROWS", 2)
    gate = tmp_path / "gate"
    sink = Gate.remote(str(gate))

    async def scenario():
        scheduler = shell(make_plan(configure(tmp_path)), sink)
        micro_batch = await scheduler.exchange("w", BATCH, None)
        while True:  # a worker with one request at a time
            scores = pool.score_micro_batch(micro_batch)
            exchange = asyncio.ensure_future(scheduler.exchange("w", BATCH, scores))
            done, _ = await asyncio.wait([exchange], timeout=1)
            if not done:
                break
            micro_batch = exchange.result()
            assert micro_batch is not None, "all was scored although nothing could be written"
        state = await scheduler.progress()
        assert 2 <= state.n_unwritten < N_IMAGES
        assert state.write_error is None
        assert not state.finished
        gate.touch()
        micro_batch = await asyncio.wait_for(exchange, 30)
        while micro_batch is not None:
            micro_batch = await scheduler.exchange("w", BATCH, pool.score_micro_batch(micro_batch))
        counters = await scheduler.drain()
        assert counters.decided == N_IMAGES
        assert (await scheduler.progress()).n_unwritten == 0

    asyncio.run(scenario())


def test_a_run_is_not_finished_before_its_rows_are_written(local_ray, tmp_path, pool):
    gate = tmp_path / "gate"
    sink = Gate.remote(str(gate))

    async def scenario():
        scheduler = shell(make_plan(configure(tmp_path)), sink)
        micro_batch = await scheduler.exchange("w", BATCH, None)
        while micro_batch is not None:
            micro_batch = await scheduler.exchange("w", BATCH, pool.score_micro_batch(micro_batch))
        state = await scheduler.progress()
        assert (state.counters.decided, state.n_unwritten) == (N_IMAGES, N_IMAGES)
        assert not state.finished
        gate.touch()
        await settled(lambda: scheduler._buffer.n_rows == 0)
        assert (await scheduler.progress()).finished

    asyncio.run(scenario())


def test_a_worker_that_was_given_up_gets_no_work_and_changes_nothing(local_ray, tmp_path, pool):
    plan = make_plan(configure(tmp_path))
    sink = Sink.remote(plan.output, False)

    async def scenario():
        scheduler = shell(plan, sink)
        micro_batch = await scheduler.exchange("zombie", BATCH, None)
        waiting = asyncio.ensure_future(scheduler.exchange("zombie", BATCH, None))
        await asyncio.sleep(0)
        await scheduler.lose("zombie", blame=False)
        if (second := await waiting) is not None:  # it was answered before the loss
            assert second.id != micro_batch.id
        late = pool.score_micro_batch(micro_batch)
        assert await scheduler.exchange("zombie", BATCH, late) is None
        state = await scheduler.progress()
        assert (state.counters.n_scored, state.counters.n_retries) == (0, 1 + (second is not None))
        # What it held goes to the next.
        again = await scheduler.exchange("w", BATCH, None)
        assert {item.image for item in again.items} == {item.image for item in micro_batch.items}

    asyncio.run(scenario())


def test_a_call_that_ray_repeats_gets_the_same_answer(local_ray, tmp_path, pool):
    plan = make_plan(configure(tmp_path))
    sink = Sink.remote(plan.output, False)

    async def scenario():
        scheduler = shell(plan, sink)
        first = await scheduler.exchange("w", BATCH, None, 0)
        assert (await scheduler.exchange("w", BATCH, None, 0)).id == first.id
        scores = pool.score_micro_batch(first)
        second = await scheduler.exchange("w", BATCH, scores, 1)
        assert second.id != first.id
        assert (await scheduler.exchange("w", BATCH, scores, 1)).id == second.id
        assert (await scheduler.progress()).counters.n_scored == first.n_scores
        micro_batch, number = second, 2
        while micro_batch is not None:
            scores = pool.score_micro_batch(micro_batch)
            micro_batch = await scheduler.exchange("w", BATCH, scores, number)
            number += 1
        assert (await scheduler.drain()).decided == N_IMAGES
        assert len(scheduler._asked["w"]) <= 8

    asyncio.run(scenario())


def test_silence_is_measured_against_a_workers_own_speed(local_ray, tmp_path, pool, monkeypatch):
    plan = make_plan(configure(tmp_path, n_images=400, hang_seconds=2))
    sink = Sink.remote(plan.output, False)
    now = 1000.0
    monkeypatch.setattr(scheduler_actor.time, "monotonic", lambda: now)

    async def overdue(scheduler, seconds):
        nonlocal now
        now += seconds
        return (await scheduler.progress()).overdue

    async def scenario():
        scheduler = shell(plan, sink)
        micro_batch = await scheduler.exchange("w", BATCH, None)
        # Of unknown speed: five times the patience, for the first may compile.
        assert await overdue(scheduler, 9.9) == ()
        assert await overdue(scheduler, 0.2) == ("w",)
        # 40 rows in 0.5 s: ten times that is five seconds, more than the patience of two.
        scores = pool.score_micro_batch(micro_batch, seconds=0.5)
        micro_batch = await scheduler.exchange("w", BATCH, scores)
        assert await overdue(scheduler, 4.9) == ()
        assert await overdue(scheduler, 0.2) == ("w",)
        # Much faster: the patience counts.
        for _ in range(12):
            scores = pool.score_micro_batch(micro_batch, seconds=0.0001 * micro_batch.n_scores)
            micro_batch = await scheduler.exchange("w", BATCH, scores)
        assert await overdue(scheduler, 1.9) == ()
        assert await overdue(scheduler, 0.2) == ("w",)
        # Without work nobody is overdue.
        while micro_batch is not None:
            scores = pool.score_micro_batch(micro_batch, seconds=0.001)
            micro_batch = await scheduler.exchange("w", BATCH, scores)
        assert await overdue(scheduler, 100) == ()

    asyncio.run(scenario())


def test_a_scheduler_that_begins_again_knows_what_was_written_and_saved(local_ray, tmp_path, pool):
    plan = make_plan(configure(tmp_path))
    sink = Sink.remote(plan.output, False)

    async def first_life():
        scheduler = shell(plan, sink)
        micro_batch = await scheduler.exchange("w", 10, None)
        engine = scheduler._scheduler
        while engine.counters.decided < 3 or not engine.states():
            micro_batch = await scheduler.exchange("w", 10, pool.score_micro_batch(micro_batch))
        counters = await scheduler.drain()
        return counters, micro_batch

    async def second_life(before, held):
        scheduler = shell(plan, sink)
        state = await scheduler.progress()
        assert (state.counters.decided, state.counters.n_scored) == (
            before.decided, before.n_scored,
        )  # fmt: skip
        # An answer to the first life's question is not mistaken for one to its own.
        micro_batch = await scheduler.exchange("w", 10, pool.score_micro_batch(held))
        assert (await scheduler.progress()).counters.n_scored == before.n_scored
        while micro_batch is not None:
            micro_batch = await scheduler.exchange("w", 10, pool.score_micro_batch(micro_batch))
        return await scheduler.drain()

    counters, held = asyncio.run(first_life())
    open_images = {state.image_id for state in plan.scheduler().states()}
    assert open_images, "nothing was saved of the images that were open"
    end = asyncio.run(second_life(counters, held))
    assert end.decided == N_IMAGES
    table = plan.output.read_table("decisions")
    assert sorted(set(table["image_id"].to_pylist())) == sorted(table["image_id"].to_pylist())
    assert table.num_rows == N_IMAGES
    # 6 images, 10 classes, 4 draws; what the first life held was scored again, and no more
    assert end.n_scored <= N_IMAGES * 40 + held.n_scores
    numbers = {r.image_id: n for n, r in enumerate(plan.records)}
    for row in table.to_pylist():
        number = numbers[row["image_id"]]
        errors = [[pool.score(number, d, k) for d in range(4)] for k in range(10)]
        np.testing.assert_allclose(row["mean_scores"], np.mean(errors, axis=1), rtol=1e-6)


def test_each_life_of_a_scheduler_keeps_a_log_of_its_own(
    local_ray, tmp_path, pool, monkeypatch, benchmarks
):
    monkeypatch.setenv("ZSD_RAY_EVENT_LOG", str(tmp_path / "logs"))
    plan = make_plan(configure(tmp_path))
    sink = Sink.remote(plan.output, False)

    async def life(n_micro_batches):
        scheduler = shell(plan, sink)
        micro_batch = await scheduler.exchange("w", 10, None)
        for _ in range(n_micro_batches):
            if micro_batch is None:
                break
            micro_batch = await scheduler.exchange("w", 10, pool.score_micro_batch(micro_batch))
        await scheduler.drain()

    asyncio.run(life(9))
    (first,) = (tmp_path / "logs").iterdir()
    asyncio.run(life(1000))
    (second,) = set((tmp_path / "logs").iterdir()) - {first}
    replay = importlib.import_module("replay_events").replay
    assert not replay(first).state["finished"]
    found = replay(second)
    assert found.same
    assert found.state["finished"]
    decided = {decision.image_id for decision in found.decisions}
    assert decided < set(plan.output.read_table("decisions")["image_id"].to_pylist())


def test_the_sink_refuses_what_a_dead_schedulers_process_sent(local_ray, tmp_path):
    plan = make_plan(configure(tmp_path))
    sink = Sink.remote(plan.output, False)
    first = Claim(1, token=9)
    assert ray.get(sink.open.remote(0, first))
    ray.get(sink.checkpoint.remote(0, first, b"first"))
    second = Claim(ray.get(sink.last.remote(0)) + 1, token=5)
    assert ray.get(sink.open.remote(0, second))
    with pytest.raises(ray.exceptions.RayTaskError, match="taken over"):
        ray.get(sink.checkpoint.remote(0, first, b"late"))
    assert read_checkpoints(plan.output) == [b"first"]
