"""The whole of a run, as a user starts it: on Ray, in one process, resumed, and with bad images."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import zsd_ray
from tests.support import replay
from tests.support.digit_runs import MEANS, PAPER
from tests.support.images import write_folder
from tests.support.processes import SECONDS, actors, wait_until
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.errors import RunBrokenError

pytestmark = pytest.mark.usefixtures("a_plain_report")

LIMIT = 40
PRUNING = {"rule": "clark-jaini", "min_scores": 12, "max_scores": 60, "p_value": 0.01}
NUMBERS = (
    "label", "prediction", "correct", "top5", "mean_scores", "draws_per_class", "n_draws",
    "n_evaluations", "stop_reason", "error",
)  # fmt: skip


def configure(path, **sections):
    """Digits, by a model that is ready at once."""
    tree = {
        **MEANS,
        "prompts": {"templates": ["a photo of the digit {}."]},
        "data": {"source": "digits", "limit": LIMIT},
        "method": PAPER,
        "pruning": PRUNING,
        "tracking": {"mlflow": "off"},
        "output": {"path": str(path), "raw_scores": True},
    }
    return parse_config(RunConfig, {**tree, **sections})


def rows(result):
    table = result.table.to_pylist()
    found = {row["image_id"]: {key: row[key] for key in NUMBERS} for row in table}
    assert len(found) == len(table), "an image has two rows"
    return found


def predictions(result):
    return {image_id: row["prediction"] for image_id, row in rows(result).items()}


BUILT_IN = {
    "model": {},
    "data": {"source": "digits", "limit": 20},
}


@pytest.fixture(scope="module")
def local_run(tmp_path_factory):
    return zsd_ray.run(configure(tmp_path_factory.mktemp("local")), local=True)


def test_the_built_in_model_reads_held_out_digits_alike_here_and_on_ray(local_ray, tmp_path):
    local = zsd_ray.run(configure(tmp_path / "local", **BUILT_IN), local=True)
    assert local.run.status == "finished"
    assert local.metrics["accuracy"] >= 0.9  # of 20, at a rule that stops early
    assert local.metrics["images"] == 20
    assert local.metrics["padding_fraction"] < 0.1
    on_ray = configure(tmp_path / "ray", **BUILT_IN, cluster={"workers": 2})
    assert rows(zsd_ray.run(on_ray)) == rows(local)


def test_the_decisions_are_those_of_the_plain_replay_of_the_raw_scores(local_run):
    scores = pq.read_table(f"{local_run.output}/scores").to_pylist()
    by_image = {}
    for row in scores:
        by_image.setdefault(row["image_id"], []).append(row)
    assert len(by_image) == LIMIT
    for image_id, row in rows(local_run).items():
        expected = replay.clark_jaini(
            replay.from_rows(by_image[image_id]),
            n_classes=10,
            min_scores=PRUNING["min_scores"],
            max_scores=PRUNING["max_scores"],
            p_value=PRUNING["p_value"],
        )
        assert row["prediction"] == expected.prediction
        assert row["draws_per_class"] == expected.draws_per_class
        assert row["n_evaluations"] == sum(expected.draws_per_class)


@pytest.mark.quick
def test_ray_decides_as_the_local_run_does(local_ray, local_run, tmp_path):
    n_workers, seen = 3, []
    result = zsd_ray.run(
        configure(tmp_path, cluster={"workers": n_workers}), on_progress=seen.append
    )
    assert rows(result) == rows(local_run)
    assert {row["worker"] for row in result.table.to_pylist()} <= {
        f"worker-{i}" for i in range(n_workers)
    }
    assert not list((tmp_path / "checkpoints").glob("*.parquet"))
    assert max(progress.n_workers for progress in seen) >= 1
    assert seen[-1].n_decided == LIMIT
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["status"], record["n_done"], record["n_images"]) == ("finished", LIMIT, LIMIT)
    assert record["totals"]["seconds_to_first_score"] > 0


@pytest.mark.full
def test_another_batch_size_gives_the_same_predictions(local_run, tmp_path):
    result = zsd_ray.run(configure(tmp_path, cluster={"batch_size": 17}), local=True)
    assert predictions(result) == predictions(local_run)


@pytest.mark.full
def test_a_run_is_extended_and_finished_images_are_not_redone(local_run, tmp_path):
    first = zsd_ray.run(configure(tmp_path, data={"source": "digits", "limit": 15}), local=True)
    assert first.metrics["images"] == 15
    parts = set((tmp_path / "decisions").iterdir())
    smaller = zsd_ray.run(configure(tmp_path, data={"source": "digits", "limit": 4}), local=True)
    assert (smaller.run.n_done, smaller.run.n_images) == (15, 15)
    seen = []
    result = zsd_ray.run(configure(tmp_path), local=True, on_progress=seen.append)
    assert seen[0].n_decided >= 15
    assert parts < set((tmp_path / "decisions").iterdir())
    assert rows(result) == rows(local_run)
    again = zsd_ray.run(configure(tmp_path), on_progress=seen.append)  # nothing left: no Ray
    assert rows(again) == rows(local_run)
    assert again.metrics["seconds"] >= result.metrics["seconds"]


@pytest.mark.full
def test_an_output_of_other_settings_is_refused_with_the_difference(tmp_path):
    zsd_ray.run(configure(tmp_path, data={"source": "digits", "limit": 1}), local=True)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(zsd_ray.UserError, match="seed was 0, now 1"):
        zsd_ray.run(configure(tmp_path, seed=1), local=True)
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.fixture
def folder_config(tiny_model, tmp_path):
    """An untrained model on a folder of made-up pictures, one of them cut short."""
    data = write_folder(tmp_path / "data", n_each=4, bad=("dog/2.png",))

    def configure_folder(name, **sections):
        return configure(
            tmp_path / name,
            model={"path": str(tiny_model)},
            data={"source": "folder", "path": str(data)},
            prompts={"templates": ["a photo of a {}.", "a drawing of a {}"]},
            **sections,
        )

    return configure_folder


def test_a_bad_image_is_a_row_and_the_run_goes_on(folder_config):
    check_a_bad_image(zsd_ray.run(folder_config("run"), local=True))


def test_a_bad_image_is_a_row_of_a_run_on_ray(local_ray, folder_config):
    check_a_bad_image(zsd_ray.run(folder_config("run")))


def check_a_bad_image(result):
    assert result.run.status == "incomplete"
    assert (result.run.n_done, result.run.n_images) == (7, 8)
    bad = [row for row in result.table.to_pylist() if row["error"]]
    assert [row["image_id"] for row in bad] == ["dog/2.png"]
    assert "dog/2.png" in bad[0]["error"]
    good = [row for row in result.table.to_pylist() if not row["error"]]
    # two templates: every class and draw costs two evaluations
    assert all(row["n_evaluations"] == 2 * sum(row["draws_per_class"]) for row in good)


@pytest.mark.few(1)
@pytest.mark.parametrize("rule", [
    {"rule": "li", "keep": [1], "draws": [6]},
    {"rule": "none", "draws": 4},
])  # fmt: skip
def test_other_rules_run(folder_config, rule):
    result = zsd_ray.run(folder_config("run", pruning=rule), local=True)
    good = [row for row in result.table.to_pylist() if not row["error"]]
    assert {row["n_draws"] for row in good} == {6 if rule["rule"] == "li" else 4}
    assert all(row["n_spent"] == row["n_evaluations"] for row in good)


def test_the_report_and_mlflow_are_there(a_plain_report, monkeypatch, tmp_path):
    monkeypatch.setattr("zsd_ray.reports.html.render_report", a_plain_report)
    config = configure(
        tmp_path / "run",
        data={"source": "digits", "limit": 5},
        tracking={"mlflow": "auto", "experiment": "digits"},
    )
    result = zsd_ray.run(config, local=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<svg" in page
    assert "5 of 5" in page
    assert result.tracked.uri == f"sqlite:///{tmp_path}/mlflow.db"
    from mlflow import MlflowClient

    run = MlflowClient(result.tracked.uri).get_run(result.tracked.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["pruning.rule"] == "clark-jaini"
    assert run.data.tags["zsd_ray.identity"] == result.run.identity
    assert run.data.metrics["accuracy"] == result.metrics["accuracy"]
    client = MlflowClient(result.tracked.uri)
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"config.yaml", "report.html", "per_class.csv"}
    commit = run.data.tags.get("git_commit", "")
    assert commit == "" or re.fullmatch("[0-9a-f]{40}", commit)
    assert result.run.mlflow_run_id == result.tracked.run_id


def model_workers():
    """Processes of model workers in this process's own Ray."""
    return actors(os.getpid(), "ModelWorker")


class Kill:
    """kill -9 of `n` model workers after the first decisions.

    Attributes:
        sees_gpus: of every kind of actor then, what its processes have as CUDA_VISIBLE_DEVICES.
    """

    def __init__(self, n):
        self.n = n
        self.sees_gpus = {}

    def __call__(self, progress):
        if progress.n_decided >= 3 and self.n:
            for kind in ("ModelWorker", "SchedulerActor", "Sink"):
                for process in actors(os.getpid(), kind):
                    entries = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                    found = [e for e in entries if e.startswith(b"CUDA_VISIBLE_DEVICES")]
                    self.sees_gpus.setdefault(kind, []).extend(found or [b"all"])
            for process in model_workers()[: self.n]:
                os.kill(process, signal.SIGKILL)
            self.n = 0


def test_a_killed_workers_images_go_to_the_others(local_ray, local_run, tmp_path):
    warnings, kill = [], Kill(1)
    result = zsd_ray.run(
        configure(tmp_path, cluster={"workers": 2}),
        on_progress=kill,
        on_warning=warnings.append,
    )
    assert len(warnings) == 1
    assert "is lost" in warnings[0]
    assert rows(result) == rows(local_run)
    none = [b"CUDA_VISIBLE_DEVICES="]  # of no GPU that the machine may have
    assert kill.sees_gpus == {"ModelWorker": 2 * none, "SchedulerActor": none, "Sink": none}
    wait_until(lambda: not model_workers())


def test_workers_are_replaced_when_all_are_killed(local_ray, local_run, tmp_path):
    warnings = []
    result = zsd_ray.run(
        configure(tmp_path, cluster={"workers": 2}),
        on_progress=Kill(2),
        on_warning=warnings.append,
    )
    assert len(warnings) == 2
    assert rows(result) == rows(local_run)
    assert {row["worker"] for row in result.table.to_pylist()} & {"worker-2", "worker-3"}


def test_a_worker_that_cannot_load_its_model_says_why(local_ray, tmp_path, monkeypatch):
    """And is not tried again: nothing is scored yet, and the others would say the same."""
    config = configure(tmp_path, model={**MEANS["model"], "device": "mps"})
    warnings = []
    with pytest.raises(zsd_ray.UserError, match="mps") as caught:
        zsd_ray.run(config, on_warning=warnings.append)
    assert "\n" not in str(caught.value)
    assert not warnings
    assert not model_workers()


def test_a_worker_that_has_no_place_holds_nothing_up(local_ray, local_run, tmp_path):
    """Of two workers of 5 cores, 8 cores hold one."""
    config = configure(tmp_path, cluster={"workers": 2, "cpus_per_worker": 5})
    # Five threads move the last bits of a score, and no prediction.
    assert predictions(zsd_ray.run(config)) == predictions(local_run)
    wait_until(lambda: not model_workers())


def test_the_loss_of_the_first_worker_at_the_start_is_no_loss_of_the_run(
    local_ray, local_run, tmp_path
):
    warnings = []

    def kill_first(progress):
        if progress.n_scored == 0 and not warnings and (workers := model_workers()):
            os.kill(min(workers), signal.SIGKILL)
            warnings.append("killed")

    result = zsd_ray.run(
        configure(tmp_path, cluster={"workers": 2}),
        on_progress=kill_first,
        on_warning=warnings.append,
    )
    assert len(warnings) == 2
    assert "is lost" in warnings[1]
    assert rows(result) == rows(local_run)


@pytest.mark.parametrize("flush_seconds", [0.01, 1000.0])
def test_rows_that_cannot_be_written_end_the_run_with_a_reason(
    local_ray, local_run, tmp_path, flush_seconds
):
    decisions = tmp_path / "decisions"

    def block(progress):
        """Put a file in the way once the run has started; before, it would be refused."""
        if not decisions.is_file():
            shutil.rmtree(decisions, ignore_errors=True)
            decisions.write_text("a file in the way")

    config = configure(tmp_path, output={"path": str(tmp_path), "flush_seconds": flush_seconds})
    with pytest.raises(RunBrokenError, match="cannot be written"):
        zsd_ray.run(config, on_progress=block)
    decisions.unlink()
    assert rows(zsd_ray.run(config)) == rows(local_run)


@pytest.mark.usefixtures("private_ray")
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_private_ray_is_stopped_by_a_signal_and_goes_on(local_run, tmp_path, stop):
    """As `make demo` starts it: the command in a process of its own, with a Ray of its own."""
    tree = configure(tmp_path / "run").model_dump(mode="json")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "zsd_ray.cli", "run", str(tmp_path / "run.yaml")]
    # All digits, so that the signal comes long before the end; the rows of LIMIT are compared.
    more = ["--set=output.flush_seconds=0.01", "--set=data.limit=null"]
    process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)
    decisions = tmp_path / "run" / "decisions"
    try:
        wait_until(
            lambda: decisions.is_dir() and any(decisions.iterdir()),
            still=lambda: process.poll() is None,
        )
        process.send_signal(stop)
        _, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert 1 <= record["n_done"] < record["n_images"]
    result = zsd_ray.run(configure(tmp_path / "run"), local=True)
    found = rows(result)
    assert {image_id: found[image_id] for image_id in rows(local_run)} == rows(local_run)


class Interrupt:
    """Ctrl-C after the first decisions."""

    def __call__(self, progress):
        if progress.n_decided >= 3:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_where_it_stopped(local_run, tmp_path):
    interrupt_and_go_on(local_run, tmp_path, local=True)


def test_an_interrupted_run_on_ray_goes_on_where_it_stopped(local_ray, local_run, tmp_path):
    interrupt_and_go_on(local_run, tmp_path, local=False)


def interrupt_and_go_on(local_run, tmp_path, local):
    with pytest.raises(KeyboardInterrupt):
        zsd_ray.run(configure(tmp_path), local=local, on_progress=Interrupt())
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert 3 <= record["n_done"] < LIMIT
    wait_until(lambda: not model_workers())
    result = zsd_ray.run(configure(tmp_path), local=local)
    assert result.run.status == "finished"
    assert rows(result) == rows(local_run)
