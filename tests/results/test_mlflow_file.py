"""MLflow's SQLite file: made by several processes at once, and one that was left broken."""

import json
import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from zsd_ray.results.tracking.mlflow_file import BrokenFileError, file_of, make_file
from zsd_ray.results.tracking.mlflow_run import may_pass
from zsd_ray.results.tracking.tracker import Tracker, tracking_uri

# One process imports MLflow, and four come from it: each would take seconds to import it.
_FOUR = """
import json, multiprocessing, sys
import mlflow, mlflow.store.tracking.sqlalchemy_store, alembic.command
from zsd_ray.results.tracking.tracker import Tracker

def work(barrier, number, told):
    warnings = []
    barrier.wait()
    tracker = Tracker(sys.argv[1], "digits", f"run-{number}", {"seed": number}, {}, warnings.append)
    tracker.log({"accuracy": number / 4}, step=1)
    tracked = tracker.close({"n": number}, {}, "FINISHED")
    told.put((warnings, tracked and tracked.run_id))

fork = multiprocessing.get_context("fork")
barrier, told = fork.Barrier(4), fork.Queue()
workers = [fork.Process(target=work, args=(barrier, n, told)) for n in range(4)]
for worker in workers:
    worker.start()
print(json.dumps([told.get(timeout=120) for _ in workers]))
"""


@pytest.mark.full
@pytest.mark.usefixtures("a_process")
def test_four_processes_that_start_together_make_one_file_and_all_are_tracked(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FOUR, f"sqlite:///{tmp_path}/runs/mlflow.db"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [warnings for warnings, _ in told] == [[]] * 4
    assert len({run for _, run in told}) == 4
    assert "Traceback" not in done.stderr
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as database:
        rows = database.execute("SELECT run_uuid, status FROM runs").fetchall()
        assert sorted(rows) == sorted((run, "FINISHED") for _, run in told)
        names = database.execute("SELECT name FROM experiments").fetchall()
        assert sorted(names) == [("Default",), ("digits",)]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert [entry.name for entry in (tmp_path / "runs").iterdir()] == ["mlflow.db"]


def half_made(file):
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")


def no_database(file):
    file.write_bytes(b"PK\3\4 something else" * 100)


def another_program(file):
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE songs (name TEXT)")


def a_folder(file):
    file.mkdir()


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (half_made, "it was left half made"),
        (no_database, "file is not a database"),
        (another_program, "it is the database of another program"),
        (a_folder, "unable to open database file"),
    ],
)
def test_a_broken_file_is_named_with_what_to_do_and_stays_as_it_is(tmp_path, break_it, why):
    file = tmp_path / "my runs" / "mlflow.db"
    file.parent.mkdir()
    break_it(file)
    os.utime(file, (1, 1))
    warnings = []
    tracker = Tracker(f"sqlite:///{file}", "x", "r", {}, {}, warnings.append)
    assert tracker.close({"accuracy": 1.0}, {}, "FINISHED") is None
    assert len(warnings) == 1
    assert f"MLflow's file {file} cannot be used ({why}" in warnings[0]
    assert f"mv '{file}' '{file}'.old" in warnings[0]
    assert "\n" not in warnings[0]
    assert file.exists()


def test_a_file_that_another_program_makes_just_now_is_waited_for(tmp_path):
    file = tmp_path / "mlflow.db"
    half_made(file)

    def go_on():
        with sqlite3.connect(file) as database:
            database.execute("INSERT INTO alembic_version VALUES ('abc')")

    timer = threading.Timer(0.3, go_on)
    timer.start()
    make_file(file, threading.Event())
    timer.join()
    stopped = threading.Event()
    stopped.set()
    go_on_no_more = tmp_path / "other.db"
    half_made(go_on_no_more)
    with pytest.raises(BrokenFileError, match="half made"):
        make_file(go_on_no_more, stopped)


def test_a_file_to_which_others_write_is_asked_again_and_other_errors_are_not():
    uri = "sqlite:///runs/mlflow.db"
    assert may_pass(ValueError("(sqlite3.OperationalError) database is locked"), uri)
    assert not may_pass(ValueError("(sqlite3.OperationalError) disk I/O error"), uri)


def test_which_uris_name_a_file():
    assert str(file_of("sqlite:///runs/mlflow.db")) == "runs/mlflow.db"
    assert str(file_of("sqlite+pysqlite:////data/x y.db?timeout=3")) == "/data/x y.db"
    for uri in ("sqlite://", "sqlite:///:memory:", "http://host", "postgresql://h/db", "runs"):
        assert file_of(uri) is None


def test_a_folder_whose_name_no_uri_can_hold_is_not_named(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri("auto", "what?/x") == "sqlite:///mlflow.db"
    assert tracking_uri("auto", "it's 100%, #1/x") == "sqlite:///it's 100%, #1/mlflow.db"
