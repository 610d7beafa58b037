from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from zsd_ray.records.errors import UserError
from zsd_ray.results.heartbeat import Heartbeat
from zsd_ray.results.output import Output
from zsd_ray.results.progress import Progress
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.run_status import read_status
from zsd_ray.storage.store import Store

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RUN = RunFile(
    status="running", config={}, identity="i", identity_parts={}, classes=["a"], versions={},
    seed=0, n_images=20, n_done=5, started="2026-11-22T11:00:00+00:00",
)  # fmt: skip
PROGRESS = Progress(
    n_images=20, n_decided=10, n_errors=2, n_labelled=8, n_correct=6, n_scored=800,
    evaluations_per_second=40.0, images_per_second=0.5, n_workers=3, seconds=60.0,
)  # fmt: skip


@pytest.fixture
def output(tmp_path):
    return Output(str(tmp_path / "run"))


def beat(output, seconds_ago, **changes):
    found = Heartbeat.now("one", "running", PROGRESS, NOW - timedelta(seconds=seconds_ago))
    found = replace(found, **changes)
    output.write_bytes("progress.json", found.to_json().encode())


def test_a_run_at_work(output):
    output.write_run(RUN)
    beat(output, seconds_ago=4)
    status = read_status(output.path, Store(), NOW)
    assert (status.status, status.silent, status.seconds_since) == ("running", False, 4)
    assert (status.n_decided, status.n_images, status.n_errors) == (10, 20, 2)
    assert status.accuracy == 0.75
    assert status.accuracy_low < 0.75 < status.accuracy_high
    assert (status.n_workers, status.evaluations_per_second, status.seconds_left) == (3, 40, 20)
    assert (status.session, status.report) == ("one", None)


def test_before_a_run_has_begun_its_last_stage_is_shown(output):
    for name in ("tree-2", "tree-10", "decisions", "pilot"):
        Output(output.location(name)).write_run(RUN)
    assert read_status(output.path, Store(), NOW).output == output.location("tree-10")
    Output(output.location("audit")).write_run(RUN)
    beat(Output(output.location("audit")), seconds_ago=4)
    status = read_status(output.path, Store(), NOW)
    assert (status.output, status.n_decided) == (output.location("audit"), 10)
    output.write_run(RUN)
    assert read_status(output.path, Store(), NOW).output == output.path


@pytest.mark.parametrize("seconds_ago", [75, -3600])
def test_a_run_on_a_machine_of_another_time_is_watched(output, seconds_ago):
    output.write_run(RUN)
    beat(output, seconds_ago, pid_space="far away")
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            beat(output, seconds_ago - 3, pid_space="far away")

    status = read_status(output.path, Store(), NOW, sleep)
    assert (status.silent, status.n_workers, len(slept)) == (False, 3, 3)
    status = read_status(output.path, Store(), NOW, slept.append)
    assert (status.silent, len(slept)) == (True, 3 + 8)


def test_a_silent_run_has_no_rates(output):
    output.write_run(RUN)
    beat(output, seconds_ago=75)
    status = read_status(output.path, Store(), NOW)
    assert status.silent
    assert (status.n_decided, status.accuracy, status.seconds_since) == (10, 0.75, 75)
    assert (status.n_workers, status.images_per_second, status.seconds_left) == (None, None, None)


def test_a_run_that_has_not_said_anything_yet(output):
    output.write_run(RUN)
    status = read_status(output.path, Store(), NOW)
    assert (status.status, status.silent, status.last_heard) == ("running", False, None)
    assert (status.n_decided, status.accuracy) == (5, None)


@pytest.mark.parametrize("ending", ["finished", "incomplete", "interrupted", "failed"])
def test_what_has_ended_is_told_by_its_record(output, ending):
    totals = {
        "images": 16, "errors": 1, "accuracy": 0.9, "accuracy_low": 0.7, "accuracy_high": 0.95,
        "evaluations_per_second": 12.0, "seconds": 32.0,
    }  # fmt: skip
    ended = "2026-11-22T11:30:00+00:00"
    output.write_run(replace(RUN, status=ending, n_done=15, ended=ended, totals=totals))
    beat(output, seconds_ago=600)  # its last words did not get through
    status = read_status(output.path, Store(), NOW)
    assert (status.status, status.silent, status.ended) == (ending, False, ended)
    assert (status.n_decided, status.n_errors, status.accuracy) == (16, 1, 0.9)
    assert (status.evaluations_per_second, status.images_per_second) == (12, 0.5)
    assert (status.n_workers, status.seconds_left) == (None, None)
    assert status.report == f"{output.path}/report.html"


def test_where_there_is_no_run(tmp_path):
    with pytest.raises(UserError, match=f"there is no run at {tmp_path}/x .*give the output.path"):
        read_status(f"{tmp_path}/x", Store())
