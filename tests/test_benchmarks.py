"""What the benchmark of efficiency marks as the default is what a run does that says nothing."""

import importlib
import sys
from pathlib import Path

import pytest

from zsd_ray.spec.config import RunConfig, parse_config

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def efficiency(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("efficiency")
    for name in ("efficiency", "score_pool"):
        sys.modules.pop(name, None)


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
