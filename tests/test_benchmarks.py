"""Every program in benchmarks/ works, and what one marks as the default is the default."""

import importlib
import os
import runpy
import sys
from pathlib import Path

import pytest
import ray

from zsd_ray.spec.config import RunConfig, parse_config

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MODULES = {path.stem: path for path in sorted(BENCHMARKS.glob("*.py"))}
PROGRAMS = [name for name, path in MODULES.items() if "__main__" in path.read_text()]
ON_RAY = {"scheduler_throughput"}


@pytest.fixture
def benchmarks(monkeypatch):
    """What `python benchmarks/X.py` changes in its process is undone."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    for name in MODULES:
        sys.modules.pop(name, None)


def run_quick(program, monkeypatch):
    """Run a program as `python` would."""
    path = MODULES[program]
    monkeypatch.setattr(sys, "argv", [str(path), "--quick"])
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        code = end.code
    else:
        code = None
    assert not code, f"{program} --quick ended with {code}"


@pytest.mark.parametrize("program", sorted(set(PROGRAMS) - ON_RAY))
def test_every_program_runs(program, benchmarks, monkeypatch, capsys):
    run_quick(program, monkeypatch)
    shown = capsys.readouterr().out
    assert any(character.isdigit() for character in shown), f"{program} showed no figure: {shown!r}"


@pytest.mark.parametrize("program", sorted(ON_RAY))
def test_every_program_with_actors_of_its_own_runs(
    program, benchmarks, local_ray, monkeypatch, capsys
):
    # Ray's workers do not look in benchmarks/ for what the program imports.
    scores = importlib.import_module("made_up_scores")
    ray.cloudpickle.register_pickle_by_value(scores)
    try:
        run_quick(program, monkeypatch)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(scores)
    assert "micro-batches/s" in capsys.readouterr().out


@pytest.fixture
def efficiency(benchmarks):
    return importlib.import_module("efficiency")


def test_the_default_that_is_measured_is_the_default(efficiency):
    rule, timesteps, weighting = efficiency.DEFAULT
    config = RunConfig()
    section = efficiency.rules(config.pruning.max_draws)[rule]
    assert parse_config(RunConfig, {"pruning": section}).pruning == config.pruning
    assert timesteps == config.method.timesteps
    assert weighting == f"{config.method.weighting}, {config.method.t_range} range"


def test_each_row_has_a_setting_of_its_own(efficiency):
    names = list(efficiency.rules(200))
    assert len(set(names)) == len(names)
    assert efficiency.DEFAULT[0] in names
    assert efficiency.DEFAULT[2] in efficiency.WEIGHTINGS
