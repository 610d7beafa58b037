"""Starts and ends Ray nodes on this machine: the "cloud" of `cluster/local.sh up --autoscale`.

Ray's own provider for this puts all nodes in one folder, where a node that joins unpacks a job's
`--working-dir` anew below those that run from it. Here each node has a folder, as a machine has.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

HEAD = f"{1:056x}"  # a Ray node's id; local.sh gives it to the head
_SECONDS_TO_END = 5


class LocalNodeProvider(NodeProvider):  # type: ignore[misc] # Ray has no types
    """What Ray's autoscaler calls, from several threads. Ids stand for IPs: all nodes have one."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._lock = threading.Lock()
        self._numbers = itertools.count(2)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tags = {
            HEAD: {
                TAG_RAY_NODE_KIND: NODE_KIND_HEAD,
                TAG_RAY_USER_NODE_TYPE: "head",
                TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
            }
        }

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        with self._lock:
            gone = [node for node, process in self._processes.items() if process.poll() is not None]
            for node in gone:
                del self._processes[node], self._tags[node]
            wanted = tag_filters.items()
            return [node for node, tags in self._tags.items() if wanted <= tags.items()]

    def is_running(self, node_id: str) -> bool:
        return node_id in self.non_terminated_nodes({})

    def is_terminated(self, node_id: str) -> bool:
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        with self._lock:
            return dict(self._tags.get(node_id, {}))

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        with self._lock:
            self._tags[node_id].update(tags)

    def external_ip(self, node_id: str) -> str:
        return node_id

    internal_ip = external_ip

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> None:
        for _ in range(count):
            self._start(tags, resources)

    def _start(self, tags: dict[str, str], resources: dict[str, float]) -> None:
        number = next(self._numbers)
        node = f"{number:056x}"
        folder = Path(self.provider_config["folder"]) / str(number)
        folder.mkdir(parents=True)
        command = ["ray", "start", "--block", "--disable-usage-stats", f"--temp-dir={folder}"]
        command += [f"--address={self.provider_config['address']}"]
        environment = os.environ | {
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": node,
            "RAY_OVERRIDE_RESOURCES": json.dumps(resources),
            "RAY_NODE_TYPE_NAME": tags[TAG_RAY_USER_NODE_TYPE],
        }
        with self._lock, (folder / "start.log").open("wb") as log:
            self._processes[node] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            self._tags[node] = dict(tags)

    def terminate_node(self, node_id: str) -> None:
        with self._lock:
            process = self._processes.pop(node_id)
            del self._tags[node_id]
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(_SECONDS_TO_END)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        return cluster_config
