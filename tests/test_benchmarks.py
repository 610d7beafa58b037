"""Every program in benchmarks/ works, and what one marks as the default is the default."""

import importlib

import pytest

from tests.support.benchmark_programs import ON_RAY, PROGRAMS, benchmarks, run_quick
from zsd_ray.config.method import DEFAULT_SNR_RANGE
from zsd_ray.config.run import RunConfig, parse_config

__all__ = ["benchmarks"]


@pytest.mark.few(1)
@pytest.mark.parametrize("program", [name for name in PROGRAMS if name != ON_RAY])
def test_every_program_runs(program, a_process, benchmarks, monkeypatch, capsys):
    run_quick(program, monkeypatch)
    shown = capsys.readouterr().out
    assert any(character.isdigit() for character in shown), f"{program} showed no figure: {shown!r}"


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
