"""An event log: whatever happened, another scheduler does the same again; damage is refused."""

import dataclasses
import functools
import io
import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduling.test_scheduler import RULE, screened
from tests.support.pools import Pool
from tests.support.profiles import examples
from tests.support.simulated_cluster import Cluster
from zsd_ray.records.cost import Cost
from zsd_ray.records.errors import DamagedFile
from zsd_ray.records.scores import ImageRecord
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.scheduling.beginning import Beginning
from zsd_ray.scheduling.event_log import EventLog, digest, read
from zsd_ray.scheduling.events import Decide

N_IMAGES, N_CLASSES = 6, 4


class Logged(Cluster):
    """A simulated cluster whose schedulers keep logs, one each."""

    def __init__(self, begin, pool, batch_size, **kinds):
        self.logs = []  # the lines of each
        super().__init__(self._begin(begin()), pool, batch_size, **kinds)

    def _begin(self, beginning):
        scheduler = beginning.scheduler()
        self.logs.append([])
        log, handle = EventLog(beginning, self.logs[-1].append), scheduler.handle

        def logged(event):
            log.event(event)
            instructions = handle(event)
            log.answer(instructions)
            return instructions

        scheduler.handle = logged
        return scheduler

    def restart(self, begin):
        super().restart(lambda **given: self._begin(begin(**given)))


def begin(pool, images=range(N_IMAGES), **options):
    records = [
        ImageRecord(f"image-{i}", f"/data/{i}.png", int(pool.truth[i]), "some" if i % 2 else None)
        for i in range(N_IMAGES)
    ]
    return Beginning(records, images, RULE, N_CLASSES, N_CLASSES, **options)


def replayed(lines):
    """Every decision of a log, checking that its instructions come again."""
    beginning, steps = read(lines, "log.jsonl")
    scheduler = beginning.scheduler()
    decisions = {}
    for step in steps:
        instructions = scheduler.handle(step.event)
        scheduler.validate()
        assert digest(instructions) == step.digest
        for instruction in instructions:
            if isinstance(instruction, Decide):
                decisions[instruction.decision.image_id] = instruction.decision
    return decisions, scheduler


@examples(25)
@given(
    seed=st.integers(0, 50),
    batch_size=st.integers(1, 40),
    cost=st.builds(Cost, st.integers(1, 3), st.integers(0, 5), st.booleans()),
    bad=st.sets(st.integers(0, 5), max_size=1),
    poison=st.sets(st.integers(0, 5), max_size=1),
    candidates=st.none() | st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=6, max_size=6),
    traced=st.frozensets(st.integers(0, 5), max_size=2),
    actions=st.lists(
        st.tuples(
            st.sampled_from(["join", "lose", "request", "answer", "answer", "again", "restart"]),
            st.integers(0, 10**6),
        ),
        max_size=40,
    ),
)
def test_a_history_with_lost_workers_is_replayed(
    seed, batch_size, cost, bad, poison, candidates, traced, actions
):
    pool = Pool(N_IMAGES, N_CLASSES, RULE.most_draws, seed)
    start = functools.partial(begin, pool, cost=cost, traced=traced, **screened(candidates))
    cluster = Logged(start, pool, batch_size, bad=bad - poison, poison=poison)
    cluster.counted = (lambda item: 3 * item.n_draws) if seed % 5 == 0 else None
    for step, (action, pick) in enumerate(actions):
        workers = sorted(cluster.held)
        busy = [worker for worker in workers if cluster.held[worker]]
        if action == "join":
            cluster.join(f"worker-{step}")
        elif action == "lose" and workers:
            cluster.lose(workers[pick % len(workers)], blame=bool(pick % 2))
        elif action == "request" and workers:
            cluster.request(workers[pick % len(workers)])
        elif action == "answer" and busy:
            worker = busy[pick % len(busy)]
            cluster.answer(worker, pick % len(cluster.held[worker]))
        elif action == "restart":
            cluster.restart(start)
    cluster.finish()
    decisions = {}
    for lines in cluster.logs:
        found, scheduler = replayed(lines)
        assert not decisions.keys() & found.keys()
        decisions |= found
    assert dataclasses.asdict(scheduler.counters) == dataclasses.asdict(cluster.scheduler.counters)
    assert decisions.keys() == cluster.decisions.keys()
    for name, decision in cluster.decisions.items():
        # repr, in which nan is nan; where images lie is not in a log
        assert repr(decisions[name]) == repr(dataclasses.replace(decision, source=""))
        assert decisions[name].raw == decision.raw


def test_offsets_are_replayed():
    rule = ClarkJainiPruning(min_scores=10, max_scores=30, p_value=0.02)
    pool = Pool(N_IMAGES, N_CLASSES, 30, seed=3)
    offsets = {f"image-{n}": np.linspace(0, 0.1 * n, N_CLASSES) for n in range(N_IMAGES - 1)}
    start = functools.partial(begin, pool, offset=offsets.get)
    cluster = Logged(lambda **g: dataclasses.replace(start(**g), pruning=rule), pool, 16)
    cluster.finish()
    decisions, _ = replayed(cluster.logs[0])
    uncorrected = {name: decision.uncorrected for name, decision in decisions.items()}
    assert uncorrected == {n: d.uncorrected for n, d in cluster.decisions.items()}
    assert [n for n, found in uncorrected.items() if found is None] == [f"image-{N_IMAGES - 1}"]


@pytest.fixture
def lines():
    pool = Pool(N_IMAGES, N_CLASSES, RULE.most_draws, seed=1)
    cluster = Logged(functools.partial(begin, pool), pool, 16)
    cluster.finish()
    return cluster.logs[0]


def read_all(lines):
    beginning, steps = read(io.BytesIO(b"".join(lines)), "log.jsonl")
    return beginning, list(steps)


def test_where_images_lie_is_not_in_a_log(lines):
    assert b"/data/" not in b"".join(lines)


def test_the_end_that_a_killed_process_leaves_is_no_damage(lines):
    _, steps = read_all(lines)
    _, cut = read_all([*lines[:-1], lines[-1][:20]])
    assert len(cut) == len(steps)
    assert [step.digest for step in cut] == [*(step.digest for step in steps[:-1]), None]
    assert len(read_all(lines[:-2])[1]) == len(steps) - 1


def reseal(lines):
    """The same lines with check numbers that are right."""
    check, sealed = 0, []
    for line in lines:
        rest = re.sub(rb'^\{"check":"[0-9a-f]{8}",', b"", line)[:-1]
        check = zlib.crc32(rest, check)
        sealed.append(b'{"check":"%08x",%s\n' % (check, rest))
    return sealed


def other(lines, place, old, new):
    assert old in lines[place]
    return [*lines[:place], lines[place].replace(old, new, 1), *lines[place + 1 :]]


DAMAGE = {
    "nothing": (lambda ls: [], "does not begin as an event log"),
    "no beginning": (lambda ls: reseal(ls[1:]), "does not begin as an event log"),
    "not a log": (lambda ls: [b"\x00\x01\n", *ls], "line 1 is not as it was written"),
    "a changed line": (lambda ls: other(ls, 1, b"16", b"17"), "line 2 is not as it was written"),
    "a lost line": (lambda ls: [*ls[:3], *ls[4:]], "line 4 is not as it was written"),
    "lines exchanged": (lambda ls: [ls[0], ls[2], ls[1], *ls[3:]], "line 2 is not"),
    "another version": (
        lambda ls: reseal(other(ls, 0, b'"version":1', b'"version":2')),
        "line 1: Input should be 1",
    ),
    "an unknown rule": (
        lambda ls: reseal(other(ls, 0, b'"clark-jaini"', b'"guess"')),
        "'guess'",
    ),
    "an unknown image": (lambda ls: reseal(other(ls, 0, b'"5":{', b'"9":{')), "image 5"),
    "an unknown event": (lambda ls: reseal(other(ls, 1, b"joined", b"danced")), "line 2: "),
    "a missing key": (
        lambda ls: reseal(other(ls, 1, b',"batch_size":16', b"")),
        "line 2: Field required",
    ),
    "no answer": (lambda ls: reseal([*ls[:2], *ls[3:]]), "an event has no answer"),
    "no event": (lambda ls: reseal([ls[0], *ls[2:]]), "an answer has no event"),
    "two beginnings": (lambda ls: reseal([ls[0], *ls]), "an event has no answer"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_log_is_refused_in_one_line(lines, name):
    damage, said = DAMAGE[name]
    with pytest.raises(DamagedFile, match=re.escape(said)) as caught:
        read_all(damage(lines))
    assert str(caught.value).startswith("log.jsonl is damaged (")
    assert "\n" not in str(caught.value)


def test_scores_that_are_no_numbers_are_refused(lines):
    place = next(n for n, line in enumerate(lines) if b'"line":"scores"' in line)
    damaged = reseal(other(lines, place, b'"errors":"', b'"errors":"!'))
    with pytest.raises(DamagedFile, match=re.escape(f"line {place + 1}")):
        read_all(damaged)
