"""Real runs of the built-in model on the same few digits, with their raw scores."""

import pytest

from tests.support.digit_runs import PAPER, configure
from zsd_ray.evaluation.evaluate import run

LIMIT = 12
PRUNING = {"rule": "clark-jaini", "min_scores": 6, "max_scores": 40, "p_value": 0.01}


def _run(path, **sections):
    output = {"path": str(path), "raw_scores": True}
    result = run(configure(path, data={"limit": LIMIT}, **sections, output=output), local=True)
    assert result.run.status == "finished"
    return str(path)


@pytest.fixture(scope="session")
def saved_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("saved-runs")


@pytest.fixture(scope="session")
def full_run(saved_runs):
    """Every class has 40 draws. Do not change it."""
    return _run(saved_runs / "full", pruning={"rule": "none", "draws": 40})


@pytest.fixture(scope="session")
def pruned_run(saved_runs):
    """Classes fall by the paper's rule. Do not change it."""
    return _run(saved_runs / "pruned", pruning=PRUNING)


@pytest.fixture(scope="session")
def staged_run(saved_runs):
    """Another weighting, and fixed stages. Do not change it."""
    pruning = {"rule": "li", "keep": [3, 1], "draws": [8, 25]}
    method = {**PAPER, "weighting": "simple"}
    return _run(saved_runs / "staged", pruning=pruning, method=method)


@pytest.fixture(scope="session")
def default_run(saved_runs):
    """The default method and rule. Do not change it."""
    return _run(saved_runs / "default", pruning={"max_draws": 40}, method={})
