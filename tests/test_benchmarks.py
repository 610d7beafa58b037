"""Every program in benchmarks/ works, and what one marks as the default is the default."""

import importlib
import json
import runpy
import sys

import pytest

import zsd_ray
from tests.support import digit_runs
from tests.support.benchmark_programs import MODULES, ON_RAY, PROGRAMS, benchmarks, run_quick
from zsd_ray.config.classifier_method import DEFAULT_SNR_RANGE
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.scheduling import scheduler
from zsd_ray.scheduling.open_image import Backlog

__all__ = ["benchmarks"]


@pytest.mark.few(1)
@pytest.mark.parametrize("program", [name for name in PROGRAMS if name != ON_RAY])
def test_every_program_runs(program, a_process, benchmarks, monkeypatch, capsys):
    run_quick(program, monkeypatch)
    shown = capsys.readouterr().out
    assert any(character.isdigit() for character in shown), f"{program} showed no figure: {shown!r}"


@pytest.fixture(scope="module")
def logged_run(tmp_path_factory):
    """A small run of digits in this process, and its event log."""
    folder = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ZSD_RAY_EVENT_LOG", str(folder / "logs"))
        config = digit_runs.configure(folder / "run", data={"limit": 6})
        result = zsd_ray.run(config, local=True)
    (log,) = (folder / "logs").iterdir()
    return result, log


def test_replay_of_a_run_comes_to_its_decisions(logged_run, benchmarks):
    result, log = logged_run
    found = importlib.import_module("replay_events").replay(log)
    assert found.same
    assert not found.cut
    rows = {row["image_id"]: row for row in result.table.to_pylist()}
    assert sorted(rows) == sorted(decision.image_id for decision in found.decisions)
    for decision in found.decisions:
        row = rows[decision.image_id]
        assert decision.prediction == row["prediction"]
        assert list(decision.draws_per_class) == row["draws_per_class"]
        assert list(decision.mean_scores) == pytest.approx(row["mean_scores"])
    assert found.state["n_evaluations"] == sum(row["n_evaluations"] for row in rows.values())


def run_replay(monkeypatch, *arguments):
    """The program's exit code."""
    monkeypatch.setattr(sys, "argv", ["replay_events.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(MODULES["replay_events"]), run_name="__main__")
    return end.value.code


def test_replay_says_what_came_of_a_log(logged_run, benchmarks, monkeypatch, capsys):
    _, log = logged_run
    assert run_replay(monkeypatch, log) == 0
    shown = capsys.readouterr().out
    assert "decisions 6, " in shown
    assert "every instruction as it was then" in shown
    assert run_replay(monkeypatch, log, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"]
    assert found["state"]["finished"]
    assert set(found["events"]) == {"WorkerJoined", "WorkRequested", "ScoresArrived"}


def test_replay_says_where_a_scheduler_departs_or_breaks(
    logged_run, benchmarks, monkeypatch, capsys
):
    _, log = logged_run
    with monkeypatch.context() as patched:
        patched.setattr(scheduler, "ITEMS_PER_SECOND", 1)
        patched.setattr(scheduler.Scheduler, "_room", lambda self, name: self._rows(name))
        assert run_replay(monkeypatch, log) == 1
    assert "the instructions depart at event " in capsys.readouterr().out
    with monkeypatch.context() as patched:
        patched.setattr(
            Backlog, "n_scores", property(lambda self: -1, lambda self, to: None), False
        )
        assert run_replay(monkeypatch, log) == 1
    assert "the scheduler broke at event 1: AssertionError: " in capsys.readouterr().out


def test_replay_refuses_what_is_no_log(tmp_path, logged_run, benchmarks, monkeypatch, capsys):
    _, log = logged_run
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_bytes(log.read_bytes().replace(b'"line":"answer"', b'"line":"anzwer"', 1))
    for path, said in (
        (damaged, f"{damaged} is damaged (line 3 is not as it was written); "),
        (tmp_path / "none.jsonl", f"{tmp_path}/none.jsonl cannot be read: No such file"),
        (tmp_path, f"{tmp_path} cannot be read: Is a directory"),
    ):
        assert run_replay(monkeypatch, path) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith(said)
        assert shown.err.count("\n") == 1


@pytest.fixture
def efficiency(benchmarks):
    return importlib.import_module("efficiency")


def test_the_default_that_is_measured_is_the_default(efficiency):
    rule, timesteps, weighting = efficiency.DEFAULT
    config = RunConfig()
    section = efficiency.rules(config.pruning.max_draws)[rule]
    assert parse_config(RunConfig, {"pruning": section}).pruning == config.pruning
    assert timesteps == config.method.timesteps
    assert weighting == f"{config.method.weighting}, default range"
    assert config.method.snr_range == DEFAULT_SNR_RANGE


def test_each_row_has_a_setting_of_its_own(efficiency):
    names = list(efficiency.rules(200))
    assert len(set(names)) == len(names)
    assert efficiency.DEFAULT[0] in names
    assert efficiency.DEFAULT[2] in efficiency.WEIGHTINGS
