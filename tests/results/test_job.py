"""The lifecycle of a job: its record says how it ended, and the error that broke it is raised."""

import subprocess
import sys

import pytest

from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.errors import RunBrokenError, StoreError, UserError
from zsd_ray.results.job import PLAN_SECONDS, Job, planning, refuse_other
from zsd_ray.results.provenance import versions
from zsd_ray.results.run_file import RunFile

BROKEN = RunBrokenError("every worker is lost")
AWAY = StoreError("the store does not answer")


def configure(tmp_path, **sections):
    tree = {"output": {"path": str(tmp_path / "out")}, "tracking": {"mlflow": "off"}, **sections}
    return parse_config(RunConfig, tree)


class Recorded(Job):
    """A job that ends as it is asked to, and notes how it was ended and how patient it then was."""

    def __init__(self, config, outcome, at_end=None):
        with planning(config) as store:
            self.patience = [store.seconds]
        self.ended, self.warnings = [], []
        super().__init__(config, store, self.warnings.append)
        self._outcome, self._at_end = outcome, at_end

    def work(self):
        self.patience.append(self.output.store.seconds)
        if isinstance(self._outcome, str):
            return self._outcome
        raise self._outcome

    def end(self, status):
        self.ended.append(status)
        self.patience.append(self.output.store.seconds)
        if self._at_end is not None:
            raise self._at_end
        return f"the result of what {status}"


@pytest.mark.parametrize("status", ["finished", "incomplete"])
def test_its_result_is_that_of_its_end(tmp_path, status):
    job = Recorded(configure(tmp_path), status)
    assert job.run() == f"the result of what {status}"
    assert job.ended == [status]


@pytest.mark.parametrize(
    ("error", "status"),
    [(BROKEN, "failed"), (AWAY, "failed"), (KeyboardInterrupt(), "interrupted")],
)
@pytest.mark.parametrize("at_end", [None, AWAY])
def test_what_breaks_it_is_written_down_and_raised(tmp_path, error, status, at_end):
    job = Recorded(configure(tmp_path), error, at_end)
    with pytest.raises(type(error)) as caught:
        job.run()
    assert caught.value is error
    assert job.ended == [status]
    said = [] if at_end is None else [f"the end of this work is not written down: {AWAY}"]
    assert job.warnings == said


def test_work_whose_end_cannot_be_written_is_not_finished(tmp_path):
    job = Recorded(configure(tmp_path), "finished", AWAY)
    with pytest.raises(StoreError):
        job.run()
    assert job.warnings == []


def test_it_is_patient_while_it_works_and_while_nobody_waits(tmp_path):
    config = configure(tmp_path, storage={"retry_seconds": 77})
    finished, interrupted = Recorded(config, "finished"), Recorded(config, KeyboardInterrupt())
    finished.run()
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    assert finished.patience == [PLAN_SECONDS, 77, 77]
    assert interrupted.patience == [PLAN_SECONDS, 77, PLAN_SECONDS]


def test_an_output_of_other_work_is_refused_with_each_difference(tmp_path):
    output = Recorded(configure(tmp_path), "finished").output
    before = RunFile("finished", {}, "0123", {"seed": 0, "data": {"path": "a"}}, ["x"], {}, 0, 1)
    message = (
        r"belongs to another run \(data\.path was \"a\", now \"b\"; seed was 0, now 1\); choose"
    )
    with pytest.raises(UserError, match=message):
        refuse_other(output, "another run", before, {"seed": 1, "data": {"path": "b"}})
    refuse_other(output, "another run", None, {"seed": 1})


def test_every_record_names_the_software():
    found = versions()
    assert found["python"].startswith("3.")
    assert {"zsd-ray", "ray", "torch", "diffusers", "transformers", "mlflow"} <= found.keys()


@pytest.mark.usefixtures("a_process")
def test_every_command_with_an_output_of_its_own_is_a_job():
    code = """
from zsd_ray.results.job import Job
import zsd_ray.evaluation.session
import zsd_ray.studies.fid.measuring
import zsd_ray.studies.generation.generating
import zsd_ray.studies.probes.probing
import zsd_ray.studies.sweeps.sweeping
import zsd_ray.training.training_session
print(sorted(job.__module__.rpartition(".")[2] for job in Job.__subclasses__()))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = ["generating", "measuring", "probing", "session", "sweeping", "training_session"]
    assert said.stdout.strip() == str(modules)
