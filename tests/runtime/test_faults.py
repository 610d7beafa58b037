"""One fault at a time: a worker that hangs, an image that kills, a node that leaves, a lost driver.

tests/runtime/test_chaos.py has them together.
"""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import zsd_ray
from tests.support import held_run as held_run_program
from tests.support.checkpoints import read_checkpoints
from tests.support.digit_runs import LIMIT, MEANS, numbers
from tests.support.digit_runs import configure as built_in
from tests.support.processes import SECONDS, actors, wait_until
from zsd_ray.config.identity import resolved
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.results.output import Output
from zsd_ray.results.rows.checkpoint import Checkpoint
from zsd_ray.results.run_file import RunFile
from zsd_ray.runtime.driver import run_on_ray

pytestmark = pytest.mark.usefixtures("a_plain_report")


def configure(path, **sections):
    return built_in(path, **{**MEANS, **sections})


HELD_RUN = held_run_program.__file__


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    result = zsd_ray.run(configure(tmp_path_factory.mktemp("quiet")), local=True)
    return numbers(result.table)


def held_run(config, folder, where):
    """Start a run that waits for FOLDER/held/go; it writes what it says to FOLDER/log."""
    (folder / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, HELD_RUN, folder / "run.yaml", folder / "held", where]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def test_a_worker_that_hangs_is_given_up_and_replaced(local_ray, quiet, tmp_path):
    warnings, stopped = [], []

    def stop_one(progress):
        if progress.n_scored and not stopped:
            stopped.append(actors(os.getpid(), "ModelWorker")[0])
            os.kill(stopped[0], signal.SIGSTOP)

    # Long enough that a worker which has to wait for a core does not hang.
    result = zsd_ray.run(
        configure(tmp_path, cluster={"workers": 2, "hang_seconds": 15}),
        on_progress=stop_one,
        on_warning=warnings.append,
    )
    assert stopped
    assert any("does not answer" in warning for warning in warnings)
    assert numbers(result.table) == quiet


@pytest.mark.parametrize("way", ["exit", "raise"])
def test_an_image_that_ends_three_workers_is_quarantined_and_tried_again_next_time(
    local_ray, quiet, tmp_path, way
):
    config = configure(tmp_path, cluster={"workers": 2})
    plan = make_plan(config)
    poisoned = plan.todo[7]

    class Poison:
        """The same images; reading one of them ends the process."""

        def __init__(self, dataset):
            self.records = dataset.records
            self.label_names = dataset.label_names
            self.dataset = dataset

        def read(self, index):
            if index == poisoned and way == "exit":
                os._exit(1)
            if index == poisoned:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return self.dataset.read(index)

    warnings = []
    plan.output.write_run(
        RunFile(
            status="failed",
            config=resolved(plan.config),
            identity=plan.identity,
            identity_parts=plan.identity_parts,
            classes=list(plan.classes.names),
            versions={},
            seed=plan.config.seed,
            n_images=plan.n_images,
        )
    )
    broken = dataclasses.replace(plan, dataset=Poison(plan.dataset))
    counters = run_on_ray(broken, lambda counters, n: None, warnings.append)
    image_id = plan.records[poisoned].image_id
    found = {row["image_id"]: row for row in plan.output.read_table("decisions").to_pylist()}
    assert found[image_id]["stop_reason"] == "quarantined"
    assert "3 workers died" in found[image_id]["error"]
    assert len(warnings) == 3
    assert all(("CUDA error" in warning) == (way == "raise") for warning in warnings)
    assert (counters.decided, counters.errors) == (LIMIT, 1)
    others = numbers(plan.output.read_table("decisions"))
    del others[image_id]
    assert others == {key: row for key, row in quiet.items() if key != image_id}
    # Its fault was not the image's: the next session tries it again.
    result = zsd_ray.run(config)
    assert numbers(result.table) == quiet


def test_a_store_that_is_away_costs_no_image(local_ray, quiet, tmp_path):
    """Reading fails now and then, as it does when a worker's store stays away too long."""
    plan = make_plan(configure(tmp_path, cluster={"workers": 2}))
    away = tmp_path / "away"
    away.mkdir()

    class Away:
        def __init__(self, dataset):
            self.records = dataset.records
            self.label_names = dataset.label_names
            self.dataset = dataset

        def read(self, index):
            from zsd_ray.records.errors import StoreError

            first_time = away / str(index)
            if index % 3 == 0 and not first_time.exists():
                first_time.touch()
                raise StoreError("the store did not answer")
            return self.dataset.read(index)

    broken = dataclasses.replace(plan, dataset=Away(plan.dataset))
    run_on_ray(broken, lambda counters, n: None, lambda warning: None)
    assert list(away.iterdir())
    assert numbers(plan.output.read_table("decisions")) == quiet


@pytest.mark.full
@pytest.mark.usefixtures("a_process")
@pytest.mark.parametrize("kept_raw", [True, False])
def test_a_killed_run_goes_on_from_its_checkpoint(quiet, tmp_path, kept_raw):
    def configured(raw_scores):
        output = {
            "path": str(tmp_path / "run"), "flush_seconds": 1000, "checkpoint_seconds": 0.001,
            "raw_scores": raw_scores,
        }  # fmt: skip
        return configure(tmp_path / "run", output=output)

    config = configured(kept_raw)
    run = held_run(config, tmp_path, "checkpoint")
    output = Output(str(tmp_path / "run"))

    def saved():
        checkpoints = [Checkpoint.from_bytes(content) for content in read_checkpoints(output)]
        return [state for checkpoint in checkpoints for state in checkpoint.states]

    try:
        wait_until((tmp_path / "held" / str(run.pid)).exists, still=lambda: run.poll() is None)
    finally:
        run.kill()
        run.wait()
    assert output.read_table("decisions").num_rows == 0
    known = sum(state.n_spent for state in saved())
    assert known > 0
    result = zsd_ray.run(configured(True), local=True)
    assert numbers(result.table) == quiet
    raw = output.read_table("scores").to_pylist()
    for image_id, row in quiet.items():
        draws = [r for r in raw if r["image_id"] == image_id]
        assert [r["draw"] for r in draws] == list(range(row["n_draws"]))
        left = [sum(n > draw for n in row["draws_per_class"]) for draw in range(row["n_draws"])]
        assert [len(r["eps_error"]) for r in draws] == left
    if not kept_raw:  # what was known could not be used: its draws were not kept
        return
    needed = sum(row["n_evaluations"] for row in quiet.values())
    assert result.metrics["n_scored"] <= 1.1 * needed
    assert result.metrics["n_scored"] + known >= needed
    assert result.metrics["n_scored"] < needed, "nothing of the killed session was used"
    assert read_checkpoints(output) == []


@pytest.fixture
def nodes(private_ray):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def test_a_node_that_drains_hands_back_its_work_while_it_still_answers(nodes, quiet, tmp_path):
    cluster = {"address": nodes.address, "workers": 2, "hang_seconds": 3600}
    run = held_run(configure(tmp_path / "run", cluster=cluster), tmp_path, "reading")
    leaving = nodes.list_all_nodes()[-1]
    raylet = leaving.all_processes["raylet"][0].process.pid
    held, log = tmp_path / "held", tmp_path / "log"

    def has_work():
        return any((held / str(worker)).exists() for worker in actors(raylet, "ModelWorker"))

    try:
        wait_until(has_work, still=lambda: run.poll() is None)
        drain = subprocess.run(
            [
                str(Path(sys.executable).with_name("ray")), "drain-node",
                "--address", nodes.address, "--node-id", leaving.node_id,
                "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
                "--deadline-remaining-seconds", "600",
            ],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert drain.returncode == 0, drain.stderr
        wait_until(
            lambda: "its node is leaving" in log.read_text(), still=lambda: run.poll() is None
        )
        (held / "go").touch()
        assert run.wait(SECONDS) == 0, log.read_text()
    finally:
        run.kill()
    assert numbers(Output(str(tmp_path / "run")).read_table("decisions")) == quiet
