"""Nodes that come with a run's work and go when there is none, by Ray's autoscaler."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import yaml

import zsd_ray
from tests.support.digit_runs import MEANS, PAPER
from tests.support.local_cluster import ROOT, SECONDS, wait_until
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.results.output import Output

LIMIT = 60
NUMBERS = (
    "label", "prediction", "top5", "mean_scores", "draws_per_class", "n_draws", "n_evaluations",
    "stop_reason", "error",
)  # fmt: skip


def configure(path):
    tree = {
        "prompts": {"templates": ["a photo of the digit {}."]},
        "model": {**MEANS["model"], "device": "cpu"},  # the nodes' GPUs are pretended
        "data": {"limit": LIMIT},
        "method": PAPER,
        "pruning": {"rule": "clark-jaini", "min_scores": 20, "max_scores": 200, "p_value": 0.002},
        "tracking": {"mlflow": "off"},
        "output": {"path": str(path), "flush_seconds": 0.01},
    }
    return parse_config(RunConfig, tree)


def rows(table):
    found = {row["image_id"]: {key: row[key] for key in NUMBERS} for row in table.to_pylist()}
    assert len(found) == table.num_rows, "an image has two rows"
    return found


@contextlib.contextmanager
def driver(cluster, folder):
    """`zsd-ray run` on a cluster, in a process of its own that joins the head."""
    tree = configure(folder / "run").model_dump(mode="json")
    (folder / "run.yaml").write_text(yaml.safe_dump(tree))
    command = [
        sys.executable, "-m", "zsd_ray.cli", "run", str(folder / "run.yaml"),
        f"--set=cluster.address={cluster.address}",
        "--set=cluster.workers={min: 0, max: 3}",
        "--set=cluster.gpus_per_worker=1",
        "--set=cluster.hang_seconds=3600",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=cluster.environment, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


class Hold:
    """Stops workers at work, until `n` of them are: then they go on together."""

    def __init__(self, cluster, n):
        self._cluster, self._n = cluster, n
        self._pids = set()

    def __call__(self):
        for worker in self._cluster.model_workers():
            title = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
            if title.startswith(b"ray::ModelWorker.run") and worker.pid not in self._pids:
                os.kill(worker.pid, signal.SIGSTOP)
                self._pids.add(worker.pid)
        return len(self._pids) == self._n

    def release(self):
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)


def test_nodes_come_with_the_work_and_go_with_it(a_cluster, tmp_path):
    def deciders():
        table = Output(str(tmp_path / "run")).read_table("decisions", ["worker"])
        return set(table["worker"].to_pylist())

    with a_cluster("--autoscale", "3") as cluster:
        assert cluster.worker_nodes() == set()
        with driver(cluster, tmp_path) as process:
            workers = Hold(cluster, 3)
            wait_until(workers, process)
            assert len(cluster.worker_nodes()) == 3
            still = cluster.model_workers()[0]
            workers.release()
            wait_until(lambda: len(deciders()) == 3, process)
            # One stands still, with images that none can finish without it; the others finish all
            # the rest, are let go, and so are their nodes.
            os.kill(still.pid, signal.SIGSTOP)
            expected = zsd_ray.run(configure(tmp_path / "local"), local=True)
            wait_until(lambda: cluster.worker_nodes() == {still.node_id}, process)
            os.kill(still.pid, signal.SIGCONT)
            assert process.wait(SECONDS) == 0, (tmp_path / "log").read_text()
        wait_until(lambda: not cluster.worker_nodes())
    assert rows(Output(str(tmp_path / "run")).read_table("decisions")) == rows(expected.table)
    # A node that stood idle while its worker was on the way may go before it comes.
    lost = re.findall(r"worker-\d+ is lost \((.*)\)", (tmp_path / "log").read_text())
    assert all(reason.startswith("The actor never ran") for reason in lost), lost
