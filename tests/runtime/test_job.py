"""A command in a job of Ray refuses to write where the job's files go, and says where to."""

import pytest

from tests.hostile import outputs
from zsd_ray.analysis.rescore import rescore
from zsd_ray.analysis.weighting_fit import fit_from_run
from zsd_ray.evaluation.evaluate import run
from zsd_ray.records.errors import UserError
from zsd_ray.results.places import refuse_relative
from zsd_ray.studies.calibration.calibrating import calibrate
from zsd_ray.studies.illustrations.illustrations_of_run import illustrate


@pytest.mark.parametrize(("key", "call"), [
    ("output.path", lambda: run(outputs.config("runs/x"))),
    ("output.path", lambda: refuse_relative({"output": {"path": "./runs"}})),
    ("--output", lambda: rescore("/some/run", output="runs/y")),
    ("--output", lambda: fit_from_run("/some/run", "learned", "learned.json")),
    ("RUN", lambda: calibrate("runs/x")),
    ("RUN", lambda: illustrate("runs/x")),
    ("RUN", lambda: fit_from_run("runs/x", "learned")),
])  # fmt: skip
def test_a_job_does_not_write_into_its_own_copy_of_the_files(monkeypatch, tmp_path, key, call):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(UserError, match=f"{key} .* is relative, and this command runs as a job"):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["/data/runs", "s3://bucket/runs", "~/runs"])
def test_a_job_may_write_to_what_every_node_sees(monkeypatch, path):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refuse_relative({"output": {"path": path}, "data": {"path": "/photos"}})


def test_a_job_reads_what_came_with_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    tree = {"output": {"path": "/runs"}, "data": {"train": {"path": "photos"}}}
    with pytest.raises(UserError, match=r"data\.train\.path photos is relative, and"):
        refuse_relative(tree)
    (tmp_path / "photos").mkdir()
    refuse_relative(tree)


def test_outside_of_a_job_relative_paths_are_as_ever(monkeypatch):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    refuse_relative({"output": {"path": "runs"}, "data": {"path": "nowhere"}})
