"""MLflow for real: a SQLite file, a server on loopback, and a server that is not there."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from zsd_ray.results.tracking import Tracker, tracking_uri


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real MLflow server on loopback."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2)  # noqa: S310 - our own server
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def track(uri, warnings, run_id=None):
    tracker = Tracker(
        uri, "digits", "run-1", {"seed": 0}, {"git_commit": "abc"}, warnings.append, run_id
    )
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


def test_a_server_takes_everything(server):
    warnings = []
    check(track(server, warnings))
    assert warnings == []


def test_a_server_that_is_away_costs_a_warning_and_nothing_else():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        warnings = []
        assert track(uri, warnings) is None
    assert len(warnings) == 1
    assert "MLflow tracking stopped" in warnings[0]


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
