"""cluster/local.sh, without starting a Ray; and the configuration for a large run."""

import importlib.util
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    TAG_RAY_NODE_KIND,
    TAG_RAY_USER_NODE_TYPE,
)

from tests.support.processes import SECONDS
from zsd_ray import RunConfig, load_config
from zsd_ray.planning.defaults import with_defaults

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "local.sh"


@pytest.mark.usefixtures("a_process")
def test_it_is_a_program_of_bash():
    assert os.access(SCRIPT, os.X_OK)
    done = subprocess.run(["bash", "-n", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sideways"],
        ["up", "0"],
        ["up", "many"],
        ["up", "2", "3"],
        ["up", "--autoscale", "0"],
        ["up", "--autoscale", "2", "3"],
        ["down", "now"],
    ],
    ids=" ".join,
)
def test_what_it_does_not_understand_ends_with_2(arguments, ray_commands):
    done, calls = ray_commands(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: cluster/local.sh up [NODES]")
    assert calls == []


@pytest.fixture
def ray_commands(a_process, tmp_path):
    """Run it with a `ray` that records: its result and the lines of every call."""
    calls = tmp_path / "calls"
    calls.touch()
    ray = tmp_path / "ray"
    ray.write_text(
        f'#!/bin/sh\necho "$RAY_AUTH_MODE $ZSD_RAY_LOCAL $RAY_enable_autoscaler_v2: $*" >>{calls}\n'
    )
    ray.chmod(0o755)

    def run(*arguments: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        environment = os.environ | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "ZSD_RAY_PORT": "6444",
            "ZSD_RAY_DASHBOARD_PORT": "8444",
        }
        command = ["bash", SCRIPT, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done, calls.read_text().splitlines()

    yield run
    shutil.rmtree("/tmp/zsd_ray_6444", ignore_errors=True)  # noqa: S108 - what the script writes


def test_three_nodes_are_a_head_and_two_workers_with_a_pretended_gpu(ray_commands):
    done, (head, *workers, status) = ray_commands("up", "3")
    assert done.returncode == 0
    assert all(call.startswith("disabled 6444 ") for call in (head, *workers, status))
    assert {"--head", "--port=6444", "--dashboard-port=8444", "--num-gpus=0"} <= set(head.split())
    assert len(workers) == 2
    folders = {word for call in workers for word in call.split() if word.startswith("--temp-dir=")}
    assert len(folders) == 2  # none of them unpacks a job's files below the other
    for worker in workers:
        assert {"--address=127.0.0.1:6444", "--num-gpus=1"} <= set(worker.split())
    assert "status" in status


def test_the_autoscalers_configuration_has_the_port_and_the_most_nodes(ray_commands, tmp_path):
    done, [head] = ray_commands("up", "--autoscale", "7")
    assert done.returncode == 0
    assert head.startswith("disabled 6444 0: start")
    [written] = [word for word in head.split() if word.startswith("--autoscaling-config=")]
    config = yaml.safe_load(Path(written.partition("=")[2]).read_text())
    assert config["provider"]["address"] == "127.0.0.1:6444"
    assert config["provider"]["folder"] == str(Path(written.partition("=")[2]).parent)
    assert config["max_workers"] == 7
    types = config["available_node_types"]
    assert {name: types[name]["max_workers"] for name in types} == {"head": 0, "gpu": 7}


@pytest.fixture
def provider(a_process, tmp_path, monkeypatch):
    """The autoscaler's provider, with a `ray` that records how it was started and then sleeps."""
    ray = tmp_path / "ray"
    ray.write_text(
        f'#!/bin/sh\necho "$RAY_OVERRIDE_NODE_ID_FOR_TESTING $RAY_OVERRIDE_RESOURCES $*" '
        f">>{tmp_path}/calls\nexec sleep 60\n"
    )
    ray.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = ROOT / "cluster" / "local_provider.py"
    spec = importlib.util.spec_from_file_location("local_provider", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = {"folder": str(tmp_path / "nodes"), "address": "127.0.0.1:6444"}
    provider = module.LocalNodeProvider(settings, "test")
    yield provider
    for node in provider.non_terminated_nodes({TAG_RAY_NODE_KIND: NODE_KIND_WORKER}):
        provider.terminate_node(node)


WORKER = {TAG_RAY_NODE_KIND: NODE_KIND_WORKER, TAG_RAY_USER_NODE_TYPE: "gpu"}


@pytest.mark.full
def test_the_provider_starts_nodes_with_an_id_resources_and_a_folder_each(provider, tmp_path):
    provider.create_node_with_resources_and_labels({}, WORKER, 2, {"CPU": 1, "GPU": 1}, {})
    nodes = provider.non_terminated_nodes(WORKER)
    assert len(nodes) == 2
    calls = _eventually(lambda: (tmp_path / "calls").read_text().splitlines(), 2)
    assert {call.split()[0] for call in calls} == set(nodes)
    assert all('{"CPU": 1, "GPU": 1} start --block' in call for call in calls)
    assert len({word for call in calls for word in call.split() if "--temp-dir" in word}) == 2
    [head] = provider.non_terminated_nodes({TAG_RAY_NODE_KIND: NODE_KIND_HEAD})
    assert f"$(printf %056x {int(head, 16)})" in SCRIPT.read_text()  # the head is started with it


def test_the_provider_ends_a_node_and_sees_one_that_ended(provider):
    provider.create_node_with_resources_and_labels({}, WORKER, 2, {"CPU": 1}, {})
    one, other = provider.non_terminated_nodes(WORKER)
    provider.terminate_node(one)
    assert provider.is_terminated(one)
    assert provider.non_terminated_nodes(WORKER) == [other]
    provider._processes[other].kill()  # as a machine that is taken away
    provider._processes[other].wait(SECONDS)
    assert provider.non_terminated_nodes(WORKER) == []


def _eventually(read, length: int) -> list[str]:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            found = read()
        except FileNotFoundError:
            found = []
        if len(found) == length:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{length} lines were expected, and came: {found}")


def test_the_configuration_for_imagenet_is_that_of_the_paper():
    run = with_defaults(load_config(RunConfig, ROOT / "configs" / "imagenet_sd21.yaml"))
    assert run.prompts.classes[0] == "tench"  # the catalogue's, as the template
    assert run.prompts.templates == ["A bad photo of a {}."]
    assert (run.pruning.rule, run.pruning.min_scores, run.pruning.max_scores) == (
        "clark-jaini",
        20,
        2000,
    )
    assert run.model.dtype == "bfloat16"
    assert (run.cluster.workers.min, run.cluster.workers.max) == (1, 64)
    assert run.cluster.gpus_per_worker == 1
    assert all(path.startswith("s3://") for path in (run.data.path, run.output.path))
