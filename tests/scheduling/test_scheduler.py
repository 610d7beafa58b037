"""The scheduler over random histories: nothing is lost, nothing is done twice, and the outcome is
that of the plain replay, whatever workers do."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import replay
from tests.support.pools import Pool
from tests.support.profiles import examples
from tests.support.simulated_cluster import Cluster
from zsd_ray.records.cost import ONE_EACH, Cost
from zsd_ray.records.scores import Candidates, ImageFailure, ImageRecord, MicroBatchScores
from zsd_ray.rules.anytime import AnytimePruning
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.scheduling.events import Assign, Decide, ScoresArrived, WorkerJoined, WorkRequested
from zsd_ray.scheduling.scheduler import Scheduler

RULE = ClarkJainiPruning(min_scores=4, max_scores=30, p_value=0.02)
EVERY_LOOK = AnytimePruning(max_draws=30, growth=1.0, indifference=None)


def make_scheduler(pool, cost=ONE_EACH, images=None, rule=RULE, **options):
    n_images, _, n_classes = pool.errors.shape
    records = [ImageRecord(f"image-{i}", "", int(pool.truth[i])) for i in range(n_images)]
    images = range(n_images) if images is None else images
    return Scheduler(records, images, rule.make(n_classes), n_classes, cost, **options)


def replayed(rule, score, n_classes, race):
    """The plain replay of one image.

    Args:
        race: classes that the rule was made for; a screen may have left fewer.
    """
    if rule is RULE:
        return replay.clark_jaini(score, n_classes, rule.min_scores, rule.max_scores, rule.p_value)
    return replay.anytime(
        score,
        n_classes,
        rule.min_draws,
        rule.max_draws,
        rule.alpha,
        rule.scale,
        rule.moderated,
        rule.growth,
        rule.indifference,
        race,
    )


def check_against_replay(
    decisions, pool, cost=ONE_EACH, bad=(), poison=(), away=(), candidates=None, rule=RULE
):
    n_images, _, n_classes = pool.errors.shape
    classes = candidates or [range(n_classes)] * n_images
    assert sorted(decisions) == sorted(f"image-{i}" for i in range(n_images))
    for image in range(n_images):
        decision = decisions[f"image-{image}"]
        if len(classes[image]) == 1:
            check_unopposed(decision, *classes[image])
            continue
        if image in bad:
            # a poisoned one never gets as far as being found truncated
            assert decision.stop_reason == ("quarantined" if image in poison else "error")
            assert decision.error is not None
            continue
        if image in poison or image in away:
            reason = "quarantined" if image in poison else "unreadable"
            assert (decision.stop_reason, decision.prediction) == (reason, None)
            continue
        expected = replayed(
            rule,
            lambda draw, k, image=image: pool.score(image, draw, sorted(classes[image])[k]),
            len(classes[image]),
            n_classes,
        )
        numbers = sorted(classes[image])
        draws = dict(zip(numbers, expected.draws_per_class, strict=True))
        assert decision.prediction == numbers[expected.prediction]
        assert decision.draws_per_class == tuple(draws.get(k, 0) for k in range(n_classes))
        assert [not np.isnan(mean) for mean in decision.mean_scores] == [
            k in draws for k in range(n_classes)
        ]
        assert decision.n_candidates == (len(draws) if candidates else None)
        assert decision.n_screen_evaluations == (100 + image if candidates else None)
        used = sum(expected.draws_per_class) * cost.per_score
        assert decision.n_evaluations == used + max(expected.draws_per_class) * cost.per_draw
        assert decision.n_spent >= decision.n_evaluations
        assert decision.correct == (decision.prediction == pool.truth[image])


def check_unopposed(decision, class_):
    """A screen left one class, so that nothing was scored."""
    assert (decision.prediction, decision.top5, decision.n_candidates) == (class_, (class_,), 1)
    assert not any(decision.draws_per_class)
    assert (decision.n_draws, decision.n_evaluations, decision.n_spent) == (0, 0, 0)
    assert np.isnan(decision.mean_scores).all()
    assert (decision.stop_reason, decision.error) == ("one-class-left", None)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "rule", [RULE, EVERY_LOOK, AnytimePruning(max_draws=30)], ids=["paper", "every look", "default"]
)
@examples(70)
@given(
    seed=st.integers(0, 50),
    batch_size=st.integers(1, 40),
    cost=st.builds(
        Cost, per_score=st.integers(1, 3), per_draw=st.integers(0, 5), whole=st.booleans()
    ),
    bad=st.sets(st.integers(0, 5), max_size=2),
    poison=st.sets(st.integers(0, 5), max_size=1),
    away=st.sets(st.integers(0, 5), max_size=1),
    candidates=st.none() | st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=6, max_size=6),
    actions=st.lists(
        st.tuples(
            st.sampled_from(["join", "lose", "request", "answer", "answer", "again", "restart"]),
            st.integers(0, 10**6),
        ),
        max_size=60,
    ),
)
@example(
    seed=0,
    batch_size=4,
    cost=ONE_EACH,
    bad=set(),
    poison=set(),
    away=set(),
    candidates=[{0}] * 6,
    actions=[],
)
def test_random_histories_lose_nothing_and_decide_as_the_replay(
    rule, seed, batch_size, cost, bad, poison, away, candidates, actions
):
    pool = Pool(6, 4, rule.most_draws, seed)
    bad, away = bad - poison, away - poison - bad
    make = functools.partial(make_scheduler, pool, cost, rule=rule, **screened(candidates))
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
    check_against_replay(cluster.decisions, pool, cost, bad, poison, away, candidates, rule)


def screened(candidates):
    """What the scheduler is told of a screen, if there is one."""
    if candidates is None:
        return {}

    def of(image):
        return Candidates(np.array(sorted(candidates[image]), dtype=np.int32), 100 + image)

    return {"candidates": of, "classes_each": float(np.mean([len(c) for c in candidates]))}


def test_workers_that_count_say_what_an_image_took():
    """Scores whose cost is only known afterwards: rows hold what was counted, and not the guess."""
    pool = Pool(6, 4, 3, seed=1)
    rule = NoPruning(rule="none", draws=3)
    cost = Cost(per_score=0, per_draw=100, whole=True)
    cluster = Cluster(make_scheduler(pool, cost, rule=rule), pool, batch_size=150)
    cluster.counted = lambda item: 7 * item.n_draws + item.image
    cluster.finish()
    for image in range(6):
        decision = cluster.decisions[f"image-{image}"]
        # Two draws fit, so an image's three go in one item or in two.
        assert decision.n_evaluations in (21 + image, 21 + 2 * image, 21 + 3 * image)
        assert decision.n_spent == decision.n_evaluations
    counters = cluster.scheduler.counters
    assert counters.n_scored == counters.n_evaluations == counters.n_spent


def test_what_was_counted_before_a_restart_counts():
    pool = Pool(1, 4, 3, seed=1)
    rule, cost = NoPruning(rule="none", draws=3), Cost(0, 100, whole=True)
    make = functools.partial(make_scheduler, pool, cost, rule=rule)
    cluster = Cluster(make(), pool, batch_size=100)
    cluster.counted = lambda item: 7 * item.n_draws
    cluster.join("w")
    cluster.request("w")
    cluster.answer("w", 0)
    cluster.lose("w")
    cluster.restart(make)
    cluster.finish()
    assert cluster.decisions["image-0"].n_evaluations == 21


def test_images_that_a_screen_decided_release_the_worker_that_asked():
    pool = Pool(5, 4, RULE.max_scores, seed=2)
    alone = [{1}, {0}, {3}, {3}, {2}]
    cluster = Cluster(make_scheduler(pool, **screened(alone)), pool, batch_size=8)
    cluster.join("w")
    cluster.request("w")
    assert cluster.scheduler.finished
    assert cluster.released == {"w"}
    check_against_replay(cluster.decisions, pool, candidates=alone)


def test_the_share_of_a_worker_near_the_end_counts_candidates_alone():
    pool = Pool(300, 40, RULE.max_scores, seed=5, gap=3.0)
    pairs = [{0, int(truth)} if truth else {0, 1} for truth in pool.truth]
    sizes = []
    for told in (screened(pairs), {**screened(pairs), "classes_each": None}):
        scheduler = make_scheduler(pool, images=range(40), **told)
        for name in ("one", "other"):
            scheduler.handle(WorkerJoined(name, 8))
            (assign,) = scheduler.handle(WorkRequested(name))
            scheduler.handle(ScoresArrived(name, pool.score_micro_batch(assign.micro_batch, 0.004)))
        (assign,) = scheduler.handle(WorkRequested("one"))
        sizes.append(assign.micro_batch.n_scores)
    assert sizes[0] <= 38 * 4 * 2 / 8  # a quarter of a worker's half of what is left
    assert sizes[0] < sizes[1]


@pytest.mark.few(1)
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
            scheduler.validate()
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
    scheduler.validate()


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


@pytest.mark.full
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
