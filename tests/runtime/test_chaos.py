"""Everything that can be killed is killed in one run; its decisions are those of a quiet one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pyarrow.parquet as pq
import pytest
import yaml

import zsd_ray
from tests.support.digit_runs import MEANS, PAPER
from tests.support.mlflow_server import MlflowServer
from tests.support.processes import actors, wait_until
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.results.output import Output
from zsd_ray.storage.store import Store

LIMIT = 300
ROWS_BETWEEN_BLOWS = 4
NUMBERS = (
    "label", "prediction", "top5", "mean_scores", "draws_per_class", "n_draws", "n_evaluations",
    "stop_reason", "error",
)  # fmt: skip


def configure(path, delay, **sections):
    tree = {
        "prompts": {"templates": ["a photo of the digit {}."]},
        "model": {**MEANS["model"], "kwargs": {"delay": delay}},
        "data": {"limit": LIMIT},
        "method": PAPER,
        "pruning": {"rule": "clark-jaini", "min_scores": 12, "max_scores": 60, "p_value": 0.01},
        "tracking": {"mlflow": "off"},
        "output": {"path": path, "flush_seconds": 0.5, "checkpoint_seconds": 2},
    }
    return parse_config(RunConfig, {**tree, **sections})


@pytest.fixture(scope="module")
def quiet_run(tmp_path_factory):
    return zsd_ray.run(configure(str(tmp_path_factory.mktemp("quiet")), 0.0), local=True)


@pytest.fixture
def nodes(private_ray):
    """A head and two worker nodes on this machine; this process does not join them."""
    from ray.cluster_utils import Cluster

    health = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": health}
    )
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def mlflow_server(tmp_path):
    (tmp_path / "mlflow").mkdir()
    server = MlflowServer(tmp_path / "mlflow")
    server.start()
    yield server
    server.kill()


def kill(cluster, kind):
    """kill -9 of the first process of an actor's class, as soon as there is one."""

    def found():
        nodes = cluster.list_all_nodes()
        raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
        return [process for raylet in raylets for process in actors(raylet, kind)]

    wait_until(found)
    os.kill(found()[0], signal.SIGKILL)


def test_a_run_survives_the_loss_of_each_of_its_parts(
    nodes, s3, mlflow_server, quiet_run, tmp_path
):
    config = configure(
        f"{s3.url}/chaos",
        0.5,  # so that the run is far from its end when the last part is lost
        cluster={"address": nodes.address, "workers": 3, "hang_seconds": 30},
        storage=s3.storage.model_dump(),
        tracking={"mlflow": mlflow_server.url, "experiment": "chaos"},
    )
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    output = Output(f"{s3.url}/chaos", Store(s3.storage))

    counts = {}  # a part never changes

    def n_rows():
        for path in output._parts("decisions"):
            if path not in counts:
                with output._opened[0].open(path, "rb") as file:
                    counts[path] = pq.ParquetFile(file).metadata.num_rows
        return sum(counts.values())

    def restart_s3():
        s3.stop()
        time.sleep(3)  # an outage of this length; nothing below depends on it
        s3.start()

    mlflow_starts = threading.Thread(target=mlflow_server.start)

    def restart_mlflow():
        mlflow_server.kill()
        mlflow_starts.start()  # it takes long

    blows = {
        "a worker": lambda: kill(nodes, "ModelWorker"),
        "the scheduler": lambda: kill(nodes, "SchedulerActor"),
        "the sink": lambda: kill(nodes, "Sink"),
        "MLflow": restart_mlflow,
        "S3": restart_s3,
        "a node": lambda: nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False),
        "the scheduler again": lambda: kill(nodes, "SchedulerActor"),
    }
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "zsd_ray.cli", "run", str(tmp_path / "run.yaml")],
            stdout=log,
            stderr=log,
        )
    try:
        for name, blow in blows.items():
            before = n_rows()
            wait_until(
                lambda before=before: n_rows() >= before + ROWS_BETWEEN_BLOWS,
                still=lambda: run.poll() is None,
            )
            blow()
            print(f"{before} rows, then without {name}", file=sys.stderr)
        assert run.wait(300) == 0
    finally:
        run.kill()
        if mlflow_starts.ident is not None:
            mlflow_starts.join()
        print((tmp_path / "log").read_text())

    written = pq.read_table(
        list(output._parts("decisions")), filesystem=output._opened[0]
    ).to_pylist()
    assert len(written) == LIMIT, "an image was lost, or written twice"
    quiet = {row["image_id"]: row for row in quiet_run.table.to_pylist()}
    for row in written:
        expected = quiet.pop(row["image_id"])
        assert {name: row[name] for name in NUMBERS} == {name: expected[name] for name in NUMBERS}
    assert not quiet
    record = json.loads(output._opened[0].cat_file(f"{output._opened[1]}/run.json"))
    assert (record["status"], record["n_done"]) == ("finished", LIMIT)

    from mlflow import MlflowClient

    tracked = MlflowClient(mlflow_server.url).get_run(record["mlflow_run_id"])
    assert tracked.info.status == "FINISHED"
    assert tracked.data.metrics["accuracy"] == record["totals"]["accuracy"]
