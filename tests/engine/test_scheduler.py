"""The scheduler over random histories: nothing is lost, nothing is done twice, and the outcome is
that of the plain replay, whatever workers do."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import replay
from tests.support.pools import Pool
from tests.support.validate import validate
from zsd_ray.engine.events import (
    Assign,
    Decide,
    Release,
    ScoresArrived,
    WorkerJoined,
    WorkerLost,
    WorkRequested,
)
from zsd_ray.engine.scheduler import Scheduler
from zsd_ray.spec.pruning import ClarkJainiPruning
from zsd_ray.spec.records import ImageFailure, ImageRecord, MicroBatchScores
from zsd_ray.stats.rules import make_rule

RULE = ClarkJainiPruning(min_scores=4, max_scores=30, p_value=0.02)


def make_scheduler(pool, n_templates=1, images=None, **options):
    n_images, _, n_classes = pool.errors.shape
    records = [ImageRecord(f"image-{i}", "", int(pool.truth[i])) for i in range(n_images)]
    images = range(n_images) if images is None else images
    return Scheduler(records, images, make_rule(RULE), n_classes, n_templates, **options)


class Cluster:
    """Simulated workers around a scheduler; checks every instruction and every state."""

    def __init__(self, scheduler, pool, batch_size, bad=(), poison=(), away=()):
        self.scheduler = scheduler
        self.pool = pool
        self.bad = bad  # images that cannot be decoded
        self.poison = poison  # images that end the process that scores them
        self.away = away  # images whose store never answers
        self.batch_size = batch_size
        self.decisions = {}
        self.held = {}  # worker -> micro-batches that it holds
        self.open_requests = {}
        self.released = set()
        self.answered = []  # to be answered a second time, perhaps

    def handle(self, event):
        for instruction in self.scheduler.handle(event):
            match instruction:
                case Assign(worker, micro_batch):
                    self.open_requests[worker] -= 1
                    self.held[worker].append(micro_batch)
                    assert micro_batch.items
                case Release(worker):
                    self.open_requests[worker] -= 1
                    self.released.add(worker)
                case Decide(decision):
                    assert decision.image_id not in self.decisions, "decided twice"
                    self.decisions[decision.image_id] = decision
        validate(self.scheduler)

    def join(self, worker):
        self.held[worker] = []
        self.open_requests[worker] = 0
        self.handle(WorkerJoined(worker, self.batch_size))

    def request(self, worker):
        self.open_requests[worker] += 1
        self.handle(WorkRequested(worker))

    def answer(self, worker, index):
        if any(item.image in self.poison for item in self.held[worker][index].items):
            if index == 0:  # a worker computes what it was sent first
                self.lose(worker, blame=True)
            return
        micro_batch = self.held[worker].pop(index)
        scores = self.score(micro_batch)
        self.answered.append((worker, scores))
        self.handle(ScoresArrived(worker, scores))

    def score(self, micro_batch):
        answers = tuple(self.score_item(item) for item in micro_batch.items)
        return MicroBatchScores.pack(micro_batch.id, answers, micro_batch.n_scores, 0.1)

    def score_item(self, item):
        if item.image in self.bad:
            return ImageFailure("truncated file")
        if item.image in self.away:
            return ImageFailure("no answer", unreadable=True)
        return self.pool.answer(item)

    def restart(self, make):
        """Another scheduler goes on from what this one would have saved."""
        states = {int(state.image_id.split("-")[1]): state for state in self.scheduler.states()}
        decided = {int(name.split("-")[1]) for name in self.decisions}
        first_id = 1 + max((m.id for held in self.held.values() for m in held), default=-1)
        first_id = max(first_id, 1 + max((scores.id for _, scores in self.answered), default=-1))
        self.scheduler = make(
            images=[n for n in range(len(self.pool.truth)) if n not in decided and n not in states],
            states=states,
            first_id=first_id,
        )
        for worker in list(self.held):  # they call again, with what they were busy with
            held, requests = self.held[worker], self.open_requests[worker]
            self.join(worker)
            for micro_batch in held:
                self.handle(ScoresArrived(worker, self.score(micro_batch)))
            for _ in range(requests):
                self.request(worker)

    def lose(self, worker, blame=False):
        for micro_batch in self.held.pop(worker):
            # a late answer of a worker that was given up
            self.answered.append((worker, self.score(micro_batch)))
        del self.open_requests[worker]
        self.handle(WorkerLost(worker, blame))

    def finish(self):
        """Let one worker at a time do what is left."""
        for worker in list(self.held):
            self.lose(worker)
        for step in range(100_000):
            if self.scheduler.finished:
                break
            if not self.held:
                self.join(f"last-{step}")
            (worker,) = self.held
            while self.open_requests[worker] + len(self.held[worker]) < 2:
                self.request(worker)
            self.answer(worker, 0)
        assert self.scheduler.finished


def check_against_replay(decisions, pool, n_templates=1, bad=(), poison=(), away=()):
    n_images, _, n_classes = pool.errors.shape
    assert sorted(decisions) == sorted(f"image-{i}" for i in range(n_images))
    for image in range(n_images):
        decision = decisions[f"image-{image}"]
        if image in bad:
            # a poisoned one never gets as far as being found truncated
            assert decision.stop_reason == ("quarantined" if image in poison else "error")
            assert decision.error is not None
            continue
        if image in poison or image in away:
            reason = "quarantined" if image in poison else "unreadable"
            assert (decision.stop_reason, decision.prediction) == (reason, None)
            continue
        expected = replay.clark_jaini(
            lambda draw, k, image=image: pool.score(image, draw, k),
            n_classes,
            RULE.min_scores,
            RULE.max_scores,
            RULE.p_value,
        )
        assert decision.prediction == expected.prediction
        assert list(decision.draws_per_class) == expected.draws_per_class
        assert decision.n_evaluations == sum(expected.draws_per_class) * n_templates
        assert decision.n_spent >= decision.n_evaluations
        assert decision.correct == (expected.prediction == pool.truth[image])


@settings(max_examples=200)
@given(
    seed=st.integers(0, 50),
    batch_size=st.integers(1, 40),
    n_templates=st.integers(1, 3),
    bad=st.sets(st.integers(0, 5), max_size=2),
    poison=st.sets(st.integers(0, 5), max_size=1),
    away=st.sets(st.integers(0, 5), max_size=1),
    actions=st.lists(
        st.tuples(
            st.sampled_from(["join", "lose", "request", "answer", "answer", "again", "restart"]),
            st.integers(0, 10**6),
        ),
        max_size=60,
    ),
)
def test_random_histories_lose_nothing_and_decide_as_the_replay(
    seed, batch_size, n_templates, bad, poison, away, actions
):
    pool = Pool(6, 4, RULE.max_scores, seed)
    bad, away = bad - poison, away - poison - bad
    make = functools.partial(make_scheduler, pool, n_templates)
    cluster = Cluster(make(), pool, batch_size, bad, poison, away)
    joined = 0
    for action, pick in actions:
        workers = sorted(cluster.held)
        busy = [worker for worker in workers if cluster.held[worker]]
        if action == "join":
            cluster.join(f"worker-{joined}")
            joined += 1
        elif action == "lose" and workers:
            cluster.lose(workers[pick % len(workers)])
        elif action == "restart":
            cluster.restart(make)
        elif action == "request" and workers:
            cluster.request(workers[pick % len(workers)])
        elif action == "answer" and busy:
            worker = busy[pick % len(busy)]
            cluster.answer(worker, pick % len(cluster.held[worker]))
        elif action == "again" and cluster.answered:
            worker, scores = cluster.answered[pick % len(cluster.answered)]
            cluster.handle(ScoresArrived(worker, scores))
    cluster.finish()
    check_against_replay(cluster.decisions, pool, n_templates, bad, poison, away)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_steady_workers_finish_with_full_batches(n_workers):
    pool = Pool(60, 6, RULE.max_scores, seed=1)
    scheduler = make_scheduler(pool)
    cluster = Cluster(scheduler, pool, batch_size=16)
    names = [f"worker-{i}" for i in range(n_workers)]
    for name in names:
        cluster.join(name)
    sizes = []
    while not scheduler.finished:
        for name in names:
            while cluster.open_requests[name] + len(cluster.held[name]) < 2:
                cluster.request(name)
        for name in names:
            if cluster.held[name]:
                sizes.append(cluster.held[name][0].n_scores)
                cluster.answer(name, 0)
    check_against_replay(cluster.decisions, pool)
    rows = sum(-(-size // 16) * 16 for size in sizes)
    assert 1 - sum(sizes) / rows < 0.05
    assert cluster.released == set(names)
    assert scheduler.counters.n_evaluations == sum(
        decision.n_evaluations for decision in cluster.decisions.values()
    )


def test_an_image_failure_becomes_an_error_row_and_the_run_goes_on():
    pool = Pool(5, 3, RULE.max_scores, seed=2)
    scheduler = make_scheduler(pool)
    decisions = {}
    pending = scheduler.handle(WorkerJoined("w", 7)) + scheduler.handle(WorkRequested("w"))
    while pending:
        instruction = pending.pop(0)
        if isinstance(instruction, Decide):
            decisions[instruction.decision.image_id] = instruction.decision
        if isinstance(instruction, Assign):
            micro_batch = instruction.micro_batch
            answers = tuple(
                ImageFailure("truncated file") if item.image == 2 else pool.answer(item)
                for item in micro_batch.items
            )
            scores = MicroBatchScores.pack(micro_batch.id, answers, micro_batch.n_scores, 0.1)
            pending += scheduler.handle(ScoresArrived("w", scores))
            validate(scheduler)
            pending += scheduler.handle(WorkRequested("w"))
    assert scheduler.finished
    assert len(decisions) == 5
    bad = decisions.pop("image-2")
    assert (bad.error, bad.prediction, bad.correct) == ("truncated file", None, None)
    assert bad.stop_reason == "error"
    assert all(decision.error is None for decision in decisions.values())
    assert scheduler.counters.errors == 1


def test_an_idle_worker_takes_work_from_a_busy_ones_queue():
    pool = Pool(1, 40, RULE.max_scores, seed=3)
    scheduler = make_scheduler(pool)
    scheduler.handle(WorkerJoined("first", 16))
    scheduler.handle(WorkerJoined("second", 16))
    (one,) = scheduler.handle(WorkRequested("first"))
    (two,) = scheduler.handle(WorkRequested("second"))
    assert one.micro_batch.items[0].image == two.micro_batch.items[0].image == 0
    validate(scheduler)


def test_traced_images_keep_their_raw_draws():
    pool = Pool(3, 3, RULE.max_scores, seed=4)
    cluster = Cluster(make_scheduler(pool, traced=frozenset({1})), pool, batch_size=8)
    cluster.finish()
    raw = {name: bool(decision.raw) for name, decision in cluster.decisions.items()}
    assert raw == {"image-0": False, "image-1": True, "image-2": False}


def test_micro_batches_grow_with_speed_and_shrink_near_the_end():
    pool = Pool(300, 4, RULE.max_scores, seed=5, gap=3.0)
    scheduler = make_scheduler(pool)
    cluster = Cluster(scheduler, pool, batch_size=8)
    cluster.join("w")
    sizes = []
    while not scheduler.finished:
        if not cluster.held["w"]:
            cluster.request("w")
        sizes.append(cluster.held["w"][0].n_scores)
        micro_batch = cluster.held["w"].pop(0)
        fast = pool.score_micro_batch(micro_batch, seconds=micro_batch.n_scores / 2000)
        cluster.handle(ScoresArrived("w", fast))
    assert sizes[0] == 8
    assert max(sizes) == 200  # 2,000 a second for a tenth of a second
    assert np.mean(sizes[-5:]) <= 8


def test_a_device_that_fails_always_costs_no_image():
    """Replaced again and again, a bad worker gets nothing over which another died."""
    pool = Pool(40, 4, RULE.max_scores, seed=3)
    cluster = Cluster(make_scheduler(pool), pool, batch_size=8)
    good = ["good-0", "good-1"]
    for name in good:
        cluster.join(name)
    n_bad = 0
    while not cluster.scheduler.finished:
        bad = f"bad-{n_bad}"
        if bad not in cluster.held:
            cluster.join(bad)
        for name in [*good, bad]:
            while cluster.open_requests[name] + len(cluster.held[name]) < 2:
                cluster.request(name)
        if cluster.held[bad]:
            cluster.lose(bad, blame=True)
            n_bad += 1
        for name in good:
            if cluster.held[name]:
                cluster.answer(name, 0)
    assert n_bad > 3
    check_against_replay(cluster.decisions, pool)


def test_an_unreadable_image_is_given_up_after_three_workers():
    pool = Pool(1, 4, RULE.max_scores, seed=4)
    cluster = Cluster(make_scheduler(pool), pool, batch_size=100, away={0})
    for n in range(3):
        assert not cluster.decisions
        cluster.join(f"w{n}")
        cluster.request(f"w{n}")
        cluster.answer(f"w{n}", 0)
    assert cluster.decisions["image-0"].stop_reason == "unreadable"


def test_items_of_one_image_that_a_worker_cannot_read_count_once():
    pool = Pool(1, 4, RULE.max_scores, seed=4)
    cluster = Cluster(make_scheduler(pool), pool, batch_size=3, away={0})
    for worker in ("small-0", "small-1"):  # two cuts of the first look's 16 scores
        cluster.join(worker)
        cluster.request(worker)
    cluster.batch_size = 100
    cluster.lose("small-0")
    cluster.lose("small-1")
    cluster.join("large")
    cluster.request("large")
    (micro_batch,) = cluster.held["large"]
    assert len(micro_batch.items) > 2
    cluster.answer("large", 0)
    assert not cluster.decisions
