"""`zsd-ray plan`, with and without a pilot, as users meet it."""

import json
from pathlib import Path

import pytest

from tests.hostile import configs
from zsd_ray.cli import main

CONFIG = "configs/digits.yaml"
FAST = [
    "--local",
    "--set=tracking.mlflow=off",
    "--set=pruning={rule: none, draws: 2}",
]


def plan(capsys, *arguments):
    """What `plan --json` prints."""
    assert main(["plan", CONFIG, "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_plan_says_what_a_run_can_take_and_writes_nothing(capsys, tmp_path):
    out = f"--set=output.path={tmp_path}/run"
    found = plan(capsys, out, "--limit=30", "--set=cluster.workers={min: 1, max: 4}")
    assert found["pilot"] is found["estimate"] is None
    bounds = found["bounds"]
    assert [bounds[f"n_{name}"] for name in ("listed", "images", "done", "todo")] == [
        500, 30, 0, 30,
    ]  # fmt: skip
    assert (bounds["n_classes"], bounds["n_prompts"], bounds["max_workers"]) == (10, 10, 4)
    assert (bounds["least"], bounds["most"]) == (20 * 10, 2000 * 10)
    assert not any(tmp_path.iterdir())
    assert main(["plan", CONFIG, out]) == 0
    assert "at least 40,000, at most 4,000,000" in capsys.readouterr().out


def test_plan_counts_what_is_done_and_refuses_what_a_run_refuses(capsys, tmp_path):
    out = f"--set=output.path={tmp_path}/run"
    assert main(["run", CONFIG, "--limit=2", out, *FAST]) == 0
    capsys.readouterr()
    bounds = plan(capsys, "--limit=5", out, *FAST[1:])["bounds"]
    assert (bounds["n_done"], bounds["n_todo"], bounds["least"], bounds["most"]) == (2, 3, 20, 20)
    assert main(["plan", CONFIG, out, *FAST[1:], "--set=seed=1"]) == 2
    assert "belongs to another run" in capsys.readouterr().err


@pytest.mark.full
def test_a_pilot_of_real_images(capsys, tmp_path):
    sections = [
        f"--set=output.path={tmp_path}/run", "--set=cluster={workers: 4, gpus_per_worker: 0.5}",
        "--set=pruning={rule: clark-jaini, min_scores: 5, max_scores: 8}",
    ]  # fmt: skip
    found = plan(capsys, *sections, "--limit=100", "--pilot=10", "--local", "--price=2")
    assert not any(tmp_path.iterdir())
    bounds, estimate, pilot = found["bounds"], found["estimate"], found["pilot"]
    assert (bounds["least"], bounds["most"], bounds["n_todo"]) == (50, 80, 100)
    assert (estimate["n_pilot"], pilot["images"], pilot["labelled"]) == (10, 10, 10)
    each = estimate["evaluations_per_image"]
    assert each["value"] == pilot["evaluations_per_image"]
    assert 50 <= each["low"] <= each["value"] <= each["high"] <= 80
    assert estimate["evaluations"]["value"] == pytest.approx(100 * each["value"])
    hours = estimate["evaluations"]["value"] * estimate["seconds_per_evaluation"] / 3600
    assert estimate["worker_hours"]["value"] == pytest.approx(hours)
    assert estimate["cost"]["value"] == pytest.approx(2 * 0.5 * hours)
    assert estimate["hours"]["value"] == pytest.approx(hours / 4)


@pytest.mark.full
def test_the_pilots_images_are_those_of_a_limit(capsys, monkeypatch, tmp_path):
    """On what a cluster would be asked for; the run itself is taken from a local one."""
    from zsd_ray.evaluation import forecast as forecasting

    out, asked, real = f"--set=output.path={tmp_path}/run", [], forecasting.run

    def local_run(config, *, local, **others):
        asked.append((config, local))
        return real(config, local=True, **others)

    monkeypatch.setattr(forecasting, "run", local_run)
    assert main(["plan", CONFIG, out, "--pilot=11", *FAST[2:]]) == 0
    ((config, local),) = asked
    assert (config.data.limit, config.tracking.mlflow, local) == (11, "off", False)
    assert not config.output.path.startswith(str(tmp_path))
    assert not Path(config.output.path).exists()  # any more
    printed = capsys.readouterr().out
    assert "An estimate from 11 images" in printed
    assert "evaluations in all     4,000  [4,000, 4,000]" in printed


def test_a_pilot_that_tells_nothing_is_refused(capsys, tmp_path):
    out = f"--set=output.path={tmp_path}/run"
    for arguments, words in [
        (["--pilot=9"], "needs 10 images to judge from, but came 9"),
        (["--pilot=20", "--limit=5"], "came 20 for a run of 5"),
        (["--price=3"], "--price needs --pilot"),
        (["--price=3", "--pilot=10"], "cluster.gpus_per_worker 0; both must be above 0"),
        (["--price=-1", "--pilot=10", "--set=cluster.gpus_per_worker=1"], "but came -1"),
    ]:
        assert main(["plan", CONFIG, out, *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line


@pytest.mark.parametrize("name", configs.ARGUMENTS)
def test_hostile_arguments_are_refused(capsys, name):
    try:
        code = main(["plan", "configs/digits.yaml", *configs.ARGUMENTS[name]])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]
