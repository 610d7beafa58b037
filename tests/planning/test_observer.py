"""What the environment asks of an observer, and what comes of it."""

import builtins
import errno
import os
from collections.abc import Callable

import pytest

from tests.support.pools import Pool
from tests.support.simulated_cluster import Cluster
from zsd_ray.planning.observer import Observer, variables
from zsd_ray.records.scores import ImageRecord
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.scheduling.beginning import Beginning
from zsd_ray.scheduling.event_log import read
from zsd_ray.scheduling.events import WorkerJoined, WorkRequested

RULE = ClarkJainiPruning(min_scores=4, max_scores=30, p_value=0.02)


def observed(environment):
    """An observer of a fresh scheduler, the scheduler, and what it warns of."""
    records = [ImageRecord(f"image-{i}", "", 0) for i in range(4)]
    beginning = Beginning(records, range(4), RULE, 3, 3)
    scheduler = beginning.scheduler()
    warned: list[str] = []
    return (
        Observer(scheduler, beginning, "session-0", environment, warned.append),
        scheduler,
        warned,
    )


def ask(handle: Callable):
    handle(WorkerJoined("w", 8))
    return handle(WorkRequested("w"))


@pytest.mark.parametrize("value", ["1", "0", "", "yes", None])
def test_a_broken_scheduler_is_said_where_that_is_asked_for(value):
    observer, scheduler, warned = observed({} if value is None else {"ZSD_RAY_VALIDATE": value})
    scheduler._backlog.n_scores += 1
    if value == "1":
        with pytest.raises(AssertionError, match="in the backlog"):
            ask(observer.handle)
    else:
        ask(observer.handle)
    said = "ZSD_RAY_VALIDATE is 'yes'; 1 turns it on, 0 or nothing leaves it off"
    assert warned == ([said] if value == "yes" else [])


def test_a_log_is_kept_and_none_is_written_over(tmp_path):
    environment = {"ZSD_RAY_EVENT_LOG": str(tmp_path / "logs")}
    observer, _, warned = observed(environment)
    ask(observer.handle)
    path = tmp_path / "logs" / "session-0.jsonl"
    content = path.read_bytes()  # all of it is there, although nothing was closed
    _, steps = read(content.splitlines(keepends=True), "log")
    assert [step.event for step in steps] == [WorkerJoined("w", 8), WorkRequested("w")]
    observer.close()
    again, _, warned = observed(environment)
    ask(again.handle)
    assert path.read_bytes() == content
    assert warned == [f"the event log {path} ends here: File exists; the run continues"]


def test_an_event_is_logged_before_it_breaks_the_scheduler(tmp_path, monkeypatch):
    observer, scheduler, _ = observed({"ZSD_RAY_EVENT_LOG": str(tmp_path)})
    ask(observer.handle)
    monkeypatch.setattr(scheduler, "_serve", lambda out: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        observer.handle(WorkRequested("w"))
    _, steps = read((tmp_path / "session-0.jsonl").read_bytes().splitlines(keepends=True), "log")
    *_, last = steps
    assert (last.event, last.digest) == (WorkRequested("w"), None)


def test_a_log_on_a_full_disk_ends_and_the_run_goes_on(tmp_path, monkeypatch):
    class Full:
        """A file of which the disk takes the first line."""

        def __init__(self, *arguments):
            self.room = 1

        def write(self, line):
            pass

        def flush(self):
            self.room -= 1
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self):
            self.flush()

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", Full)
        observer, scheduler, warned = observed({"ZSD_RAY_EVENT_LOG": str(tmp_path)})
    pool = Pool(4, 3, RULE.most_draws, seed=0)
    cluster = Cluster(scheduler, pool, 8)
    observer.handle(WorkerJoined("first", 8))
    cluster.finish()
    assert len(cluster.decisions) == 4
    (line,) = warned
    assert line.endswith("session-0.jsonl ends here: No space left on device; the run continues")


def test_a_url_is_no_folder():
    observer, _, warned = observed({"ZSD_RAY_EVENT_LOG": "s3://user:secret@bucket/logs"})
    assert ask(observer.handle)
    (line,) = warned
    assert line.endswith("; it must be a local folder, so no log is kept")
    assert "secret" not in line


def test_another_process_looks_into_the_same_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    environment = {"ZSD_RAY_EVENT_LOG": "logs", "ZSD_RAY_VALIDATE": "1", "HOME": "/root"}
    expected = {"ZSD_RAY_EVENT_LOG": str(tmp_path / "logs"), "ZSD_RAY_VALIDATE": "1"}
    assert variables(environment) == expected
    assert variables({"ZSD_RAY_EVENT_LOG": "s3://b/logs"}) == {"ZSD_RAY_EVENT_LOG": "s3://b/logs"}
    assert variables({"ZSD_RAY_EVENT_LOG": ""}) == {}
