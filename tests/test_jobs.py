"""The entrypoints for `ray job submit` are the command line with a cluster's address."""

import json
import subprocess
import sys

import pytest


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.usefixtures("private_ray")
def test_evaluate_runs_and_passes_options_on(tmp_path):
    result = python(
        "jobs/evaluate.py", "--config", "configs/digits.yaml", "--address", "some:1", "--local",
        "--limit=1", f"--set=output.path={tmp_path}/run", "--set=tracking.mlflow=off",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["cluster"]["address"] == "some:1"
    assert record["n_done"] == 1


@pytest.mark.few(1)
@pytest.mark.usefixtures("a_process")
@pytest.mark.parametrize("job", ["evaluate", "train"])
def test_exit_codes_reach_the_submitter(job):
    result = python(f"jobs/{job}.py", "--config", "absent.yaml")
    assert result.returncode == 2
    assert "cannot read the configuration absent.yaml" in result.stderr
