"""Processes of a scheduler follow each other by count, whatever their clocks say."""

import time

from zsd_ray.runtime import scheduler_actor
from zsd_ray.runtime.epochs import Claim, Epochs


class Here:
    """A sink in this process, behind the calls that an actor has."""

    def __init__(self):
        self.epochs = Epochs()

    def __getattr__(self, name):
        call = getattr(self.epochs, name)
        return type("Method", (), {"remote": staticmethod(call)})


def test_a_scheduler_that_is_started_again_under_a_clock_set_back_may_write(monkeypatch):
    monkeypatch.setattr(scheduler_actor.ray, "get", lambda found: found)
    sink, claims = Here(), []
    for now in (2_000_000_000, 1_000_000_000, 1_000_000_000):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        monkeypatch.setattr(time, "time", lambda now=now: now / 1e9)
        claims.append(scheduler_actor._claim(sink, 0))
        assert sink.epochs.allows(0, claims[-1])
    assert [sink.epochs.allows(0, claim) for claim in claims] == [False, False, True]
    assert len({claim.first_id for claim in claims}) == 3
    assert all(0 <= claim.first_id < 2**63 - 2**32 for claim in claims)


def test_of_two_processes_that_counted_alike_one_has_the_shard():
    epochs = Epochs()
    first, second = Claim(1, 10), Claim(1, 20)
    assert epochs.open(0, first)
    assert epochs.open(0, first)  # Ray repeats a call
    assert not epochs.open(0, second)
    assert epochs.open(0, Claim(2, 20))
    assert not epochs.open(0, first)  # on its way since before its process died
    assert epochs.allows(1, first)  # another shard is none of it


def test_a_sink_that_starts_again_takes_the_process_that_is_alive():
    epochs = Epochs()
    assert epochs.allows(0, Claim(3, 7))
    assert not epochs.allows(0, Claim(2, 9))
    assert epochs.last(0) == 3
