"""A Ray cluster of several nodes on this machine, started and ended by cluster/local.sh."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.processes import SECONDS

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "local.sh"


class LocalCluster:
    """What a test asks of a running cluster. The process that asks does not join it.

    Attributes:
        address: of Ray, for `cluster.address`.
        jobs: of the dashboard, for `ray job submit`.
        environment: for processes that talk to the cluster; no keys for S3 in it, so that the nodes
            have none of their own.
    """

    def __init__(self, temporary: str) -> None:
        port, dashboard_port = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.jobs = f"http://127.0.0.1:{dashboard_port}"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("AWS_") and name not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
        } | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "RAY_AUTH_MODE": "disabled",
            # Not the usual folder: a Ray that is started meanwhile would take this one for its own.
            "RAY_TMPDIR": temporary,
            "ZSD_RAY_DASHBOARD_PORT": str(dashboard_port),
            "ZSD_RAY_PORT": str(port),
        }

    def worker_nodes(self) -> set[str]:
        """Ids of the nodes that are alive, but for the head."""
        from ray.util.state import list_nodes

        nodes = list_nodes(self.jobs, raise_on_missing_output=False)
        return {node.node_id for node in nodes if node.state == "ALIVE" and not node.is_head_node}

    def model_workers(self) -> list[Any]:
        """Ray's description (pid, node_id) of the model workers that are alive."""
        from ray.util.state import list_actors

        wanted = [("state", "=", "ALIVE"), ("class_name", "=", "ModelWorker")]
        return list_actors(self.jobs, filters=wanted, raise_on_missing_output=False)


@contextmanager
def local_cluster(*arguments: str) -> Iterator[LocalCluster]:
    """`cluster/local.sh up ARGUMENTS`, and `down` however the context ends."""
    # Not pytest's folder: paths of sockets must be short.
    with tempfile.TemporaryDirectory(
        prefix="zr", dir="/tmp", ignore_cleanup_errors=True
    ) as temporary:
        cluster = LocalCluster(temporary)
        try:
            _local_sh(cluster, temporary, "up", *arguments)
            yield cluster
        finally:
            _local_sh(cluster, temporary, "down")


def _local_sh(cluster: LocalCluster, folder: str, *arguments: str) -> None:
    # A file, and not a pipe, which Ray's processes would hold open.
    with Path(folder, "local.sh.log").open("w+") as log:
        done = subprocess.run(
            [SCRIPT, *arguments],
            env=cluster.environment,
            stdout=log,
            stderr=log,
            timeout=SECONDS,
            check=False,
        )
        log.seek(0)
        assert done.returncode == 0, log.read()


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait for a condition, while a process goes on that must not end before."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert process is None or process.poll() is None, "the process ended too soon"
        assert time.monotonic() < end, "this did not come about"
        time.sleep(0.2)


def _free_ports(n: int) -> list[int]:
    """Ports below those that Ray gives to its workers."""
    found: list[int] = []
    while len(found) < n:
        port = random.randint(7000, 9999)
        with suppress(OSError), socket.create_server(("", port)):
            found += [port] if port not in found else []
    return found
