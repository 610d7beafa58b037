import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.processes import wait_until
from zsd_ray.records.errors import UserError
from zsd_ray.results import heartbeat
from zsd_ray.results.heartbeat import Heart, Heartbeat, read_heartbeat, refuse_second_driver
from zsd_ray.results.output import Output
from zsd_ray.results.progress import Progress
from zsd_ray.storage.store import Store

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
PROGRESS = Progress(
    n_images=10, n_decided=4, n_errors=1, n_labelled=3, n_correct=2, n_scored=80,
    evaluations_per_second=20.0, images_per_second=0.5, n_workers=2, seconds=9.0,
)  # fmt: skip


def a_beat(seconds_ago=5, **changes):
    """Of a session on another machine."""
    beat = Heartbeat.now("one", "running", PROGRESS, NOW - timedelta(seconds=seconds_ago))
    return replace(beat, **{"host": "far", "pid": 77, "pid_space": "far away", **changes})


def write(path, beat):
    (path / "progress.json").write_text(beat.to_json())


class Sleeper:
    """Sleeps no time, but lets the other driver act: `acts` are by seconds slept."""

    def __init__(self, acts=None):
        self.slept = 0
        self.acts = acts or {}

    def __call__(self, seconds):
        self.slept += seconds
        if self.slept in self.acts:
            self.acts[self.slept]()


def refuse(path, sleeper, said=None):
    said = [] if said is None else said
    refuse_second_driver(str(path), Store(), said.append, clock=lambda: NOW, sleep=sleeper)


def test_what_is_written_is_read_again(tmp_path):
    beat = a_beat()
    write(tmp_path, beat)
    assert read_heartbeat(f"{tmp_path}/", Store()) == beat
    assert beat.age(NOW) == 5
    assert beat.age(NOW - timedelta(hours=1)) == 0  # its clock is ahead of ours


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"session": "one"}', '{"progress": {}}'])
def test_what_cannot_be_understood_is_as_good_as_not_there(tmp_path, text):
    if text is not None:
        (tmp_path / "progress.json").write_text(text)
    assert read_heartbeat(str(tmp_path), Store()) is None


# ---- two drivers


def test_a_living_driver_is_not_disturbed(tmp_path):
    write(tmp_path, a_beat())
    sleeper, said = Sleeper({3: lambda: write(tmp_path, a_beat(seconds_ago=0))}), []
    with pytest.raises(UserError) as caught:
        refuse(tmp_path, sleeper, said)
    message = str(caught.value)
    assert f"output.path {tmp_path} is being written by process 77 on far" in message
    assert "--fresh" in message
    assert sleeper.slept == 3
    assert len(said) == 1
    assert "5 s ago by process 77 on far" in said[0]


def test_a_driver_that_was_killed_elsewhere_is_watched_and_not_waited_for(tmp_path):
    write(tmp_path, a_beat())
    sleeper = Sleeper()
    refuse(tmp_path, sleeper)
    assert sleeper.slept == 12


def test_a_driver_that_ends_while_it_is_watched_leaves_the_place(tmp_path):
    write(tmp_path, a_beat())
    ended = a_beat(seconds_ago=0, status="interrupted")
    sleeper = Sleeper({2: lambda: write(tmp_path, ended)})
    refuse(tmp_path, sleeper)
    assert sleeper.slept == 2


@pytest.mark.parametrize("beat", [
    a_beat(status="finished"),
    a_beat(status="interrupted"),
    replace(Heartbeat.now("one", "running", PROGRESS, NOW), session="of this process"),
])  # fmt: skip
def test_what_nobody_writes_any_more_is_not_watched(tmp_path, beat):
    write(tmp_path, beat)
    sleeper = Sleeper()
    refuse(tmp_path, sleeper)
    assert sleeper.slept == 0


@pytest.mark.parametrize("seconds", [-86_400, -40, 0, 31, 86_400])
def test_a_living_driver_is_seen_whatever_its_clock_says(tmp_path, seconds):
    write(tmp_path, a_beat(seconds_ago=seconds))
    sleeper = Sleeper({4: lambda: write(tmp_path, a_beat(seconds_ago=seconds - 4))})
    with pytest.raises(UserError, match="is being written by process 77 on far"):
        refuse(tmp_path, sleeper)
    assert sleeper.slept == 4


@pytest.mark.usefixtures("a_process")
def test_a_process_of_this_machine_is_asked_for(tmp_path):
    here = Heartbeat.now("one", "running", PROGRESS, NOW)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write(tmp_path, replace(here, pid=process.pid))
    alive, dead = Sleeper(), Sleeper()
    refuse(tmp_path, alive)
    process.communicate(b"\n")
    refuse(tmp_path, dead)
    assert (alive.slept, dead.slept) == (12, 0)  # alive, but not our driver: its number may recur


def test_no_run_no_wait(tmp_path):
    sleeper = Sleeper()
    refuse(tmp_path / "nothing", sleeper)
    assert sleeper.slept == 0


# ---- the thread


def test_a_heart_beats_until_it_is_stopped_and_says_how_it_ended(tmp_path):
    heart = Heart(Output(str(tmp_path)), "one", PROGRESS, seconds=0.01)
    wait_until(lambda: read_heartbeat(str(tmp_path), Store()))
    first = read_heartbeat(str(tmp_path), Store())
    assert (first.status, first.progress) == ("running", PROGRESS)
    heart.progress = replace(PROGRESS, n_decided=5)
    wait_until(lambda: read_heartbeat(str(tmp_path), Store()).progress.n_decided == 5)
    assert read_heartbeat(str(tmp_path), Store()).at > first.at
    heart.stop("finished")
    last = read_heartbeat(str(tmp_path), Store())
    assert last.status == "finished"
    time.sleep(0.05)
    assert read_heartbeat(str(tmp_path), Store()) == last


class AwayOutput:
    """A store that answers no write until it is told to, and then refuses."""

    def __init__(self):
        self.n_calls = 0
        self.answer = threading.Event()

    def write_bytes(self, name, content):
        self.n_calls += 1
        self.answer.wait(30)
        raise OSError("the store is away")


def test_a_store_that_does_not_answer_holds_up_nothing(monkeypatch):
    monkeypatch.setattr(heartbeat, "_CLOSE_SECONDS", 0.1)
    output = AwayOutput()
    heart = Heart(output, "one", PROGRESS, seconds=0.01)
    wait_until(lambda: output.n_calls)
    time.sleep(0.1)
    assert output.n_calls == 1  # ten beats fell out
    start = time.monotonic()
    heart.stop("finished")
    assert time.monotonic() - start < 25  # the store answers after 30 s
    output.answer.set()
    wait_until(lambda: output.n_calls == 2)  # the first one's error stopped nothing
