"""MLflow for real: a SQLite file, a server on loopback, and a server that is not there."""

import os
import socket
import time

import pytest

from tests.support.mlflow_server import MlflowServer
from tests.support.processes import wait_until
from zsd_ray.config.identity import settings
from zsd_ray.config.run import ModelConfig, PromptConfig, RunConfig, TrackingConfig
from zsd_ray.results.tracking.tracker import Tracker, start_tracker, tracking_uri


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


def start(uri, warnings, run_id=None, close_seconds=60.0):
    tags = {"git_commit": "abc"}
    return Tracker(
        uri, "digits", "run-1", {"seed": 0}, tags, warnings.append, run_id, close_seconds
    )


def track(uri, warnings, run_id=None, close_seconds=60.0):
    tracker = start(uri, warnings, run_id, close_seconds)
    tracker.log({"accuracy": 0.5}, step=10)
    tracker.log({"accuracy": 0.75}, step=20)
    return tracker.close({"n_evaluations": 40.0}, {"report.html": "<p>é</p>"}, status="FINISHED")


def check(tracked, expected_points=(0.5, 0.75)):
    from mlflow import MlflowClient
    from mlflow.artifacts import load_text

    client = MlflowClient(tracked.uri)
    run = client.get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "0"}
    assert run.data.tags["git_commit"] == "abc"
    assert run.data.metrics["n_evaluations"] == 40
    history = client.get_metric_history(tracked.run_id, "accuracy")
    assert [point.value for point in history] == list(expected_points)
    assert [point.step for point in history][:2] == [10, 20]
    os.environ["MLFLOW_TRACKING_URI"] = tracked.uri
    try:
        assert load_text(f"{run.info.artifact_uri}/report.html") == "<p>é</p>"
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]


def test_a_sqlite_file_takes_everything_and_a_second_session_goes_on(tmp_path):
    uri, warnings = f"sqlite:///{tmp_path}/new/mlflow.db", []
    tracked = track(uri, warnings)
    check(tracked)
    assert (tmp_path / "new" / "mlartifacts").is_dir()
    again = track(uri, warnings, run_id=tracked.run_id)
    assert again == tracked
    check(again, (0.5, 0.75, 0.5, 0.75))
    assert warnings == []


def test_a_server_takes_everything(mlflow_server):
    warnings = []
    check(track(mlflow_server.url, warnings))
    assert warnings == []


def test_a_server_that_is_killed_and_comes_back_gets_everything(mlflow_server):
    from mlflow import MlflowClient

    def points():
        return MlflowClient(mlflow_server.url).get_metric_history(tracker._run.id, "accuracy")

    warnings = []
    tracker = start(mlflow_server.url, warnings)
    tracker.log({"accuracy": 0.5}, step=10)
    wait_until(lambda: tracker._run.id and points())
    mlflow_server.kill()
    killed, longest = time.time(), 0.0
    for step in range(11, 14):
        before = time.monotonic()
        tracker.log({"accuracy": step / 20}, step)
        longest = max(longest, time.monotonic() - before)
        time.sleep(0.4)
    away = time.time()
    wait_until(lambda: warnings)
    mlflow_server.start()
    tracker.log({"accuracy": 0.75}, step=20)
    tracked = tracker.close({"n_evaluations": 40.0}, {"report.html": "<p>é</p>"}, "FINISHED")
    assert longest < 10  # it was not waited for: a server that is away costs more
    history = points()
    assert [(p.step, p.value) for p in history] == [
        (10, 0.5), (11, 0.55), (12, 0.6), (13, 0.65), (20, 0.75),
    ]  # fmt: skip
    stamps = [point.timestamp / 1000 for point in history[1:4]]
    assert killed - 0.001 <= stamps[0] < stamps[1] < stamps[2] <= away
    assert tracked.run_id == tracker._run.id
    run = MlflowClient(mlflow_server.url).get_run(tracked.run_id)
    assert (run.info.status, run.data.metrics["n_evaluations"]) == ("FINISHED", 40)
    assert len(warnings) == 1
    assert f"MLflow at {mlflow_server.url} does not answer" in warnings[0]


@pytest.mark.full
def test_a_server_that_stays_away_costs_two_warnings_and_some_seconds():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        warnings = []
        started = time.monotonic()
        assert track(uri, warnings, close_seconds=8) is None
    assert 8 <= time.monotonic() - started < 60
    assert len(warnings) == 2
    assert "does not answer" in warnings[0]
    assert "did not take everything in 8 s" in warnings[1]


def test_what_a_server_refuses_stops_the_tracking(mlflow_server):
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.url)
    client.delete_experiment(client.create_experiment("deleted"))
    warnings = []
    tracker = Tracker(mlflow_server.url, "deleted", "r", {}, {}, warnings.append)
    assert tracker.close({}, {}, "FINISHED") is None
    assert len(warnings) == 1
    assert "MLflow tracking stopped" in warnings[0]


def test_a_server_takes_whatever_users_call_their_classes_and_files(mlflow_server):
    from mlflow import MlflowClient

    odd = ["a, b", "it's [x] (y)", "two\nlines", "🦊", "../..", "", "\0", "caf\udce9", "x" * 10_000]
    config = RunConfig().model_copy(
        update={
            "prompts": PromptConfig(classes={name: name for name in odd}, templates=["{} \udce9"]),
            "model": ModelConfig(kwargs={name: name for name in odd}),
            "tracking": TrackingConfig(mlflow=mlflow_server.url, experiment="🦊, [x]/.."),
        }
    )
    for place in odd:
        warnings = []
        tracker = start_tracker(
            config.tracking,
            f"runs/{place}",
            settings(config),
            warnings.append,
            {"zsd_ray.x": place},
        )
        tracker.log({f"m/{place}": 0.5}, step=1)
        tracked = tracker.close({place: 1.0}, {}, "FINISHED")
        assert (tracked is not None, warnings) == (True, [])
    run = MlflowClient(mlflow_server.url).get_run(tracked.run_id)
    assert run.data.params["prompts.classes"].startswith("{'a, b': 'a, b'")
    assert run.data.metrics == {f"m/{'x' * 248}": 0.5, "x" * 250: 1.0}


def test_a_second_session_with_other_settings_goes_on_in_the_same_run(tmp_path):
    from mlflow import MlflowClient

    uri, warnings = f"sqlite:///{tmp_path}/mlflow.db", []
    first = Tracker(uri, "x", "r", {"workers": 1}, {}, warnings.append).close({}, {}, "KILLED")
    again = Tracker(uri, "x", "r", {"workers": 2, "new": 3}, {}, warnings.append, first.run_id)
    second = again.close({"accuracy": 1.0}, {}, "FINISHED")
    assert (second, warnings) == (first, [])
    run = MlflowClient(uri).get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"workers": "1", "new": "3"}
    assert run.data.tags["resumed.workers"] == "2"


def test_an_unknown_run_id_gives_a_new_run(tmp_path):
    uri, warnings = f"sqlite:///{tmp_path}/mlflow.db", []
    tracked = track(uri, warnings, run_id="0" * 32)
    assert tracked.run_id != "0" * 32
    assert warnings == []


def test_a_full_queue_behind_a_dead_server_does_not_hang():
    warnings = []
    tracker = Tracker("nosuchscheme://x", "x", "r", {}, {}, warnings.append)
    for step in range(20_000):
        tracker.log({"accuracy": 0.0}, step)
    assert tracker.close({}, {}, "FINISHED") is None
    assert len(warnings) == 1


def test_what_the_setting_means(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri("off", "runs/x") is None
    assert tracking_uri("auto", "runs/x") == "sqlite:///runs/mlflow.db"
    assert tracking_uri("auto", "s3://bucket/x") == "sqlite:///mlflow.db"
    assert tracking_uri("http://host", "runs/x") == "http://host"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://env")
    assert tracking_uri("auto", "runs/x") == "http://env"
