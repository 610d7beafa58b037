"""Shared pieces: a tiny model in the real folder format, and a real local Ray."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import markers, profiles, s3_server

profiles.register()

# Before torch, transformers or ray are imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray's own is 15: beside another process of tests, its workers would hardly run.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ZSD_RAY_VALIDATE", "1")
os.environ.pop("ZSD_RAY_EVENT_LOG", None)
os.environ.pop("MLFLOW_TRACKING_URI", None)
# Before any Ray: its workers have the environment that it was started in.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ.update(s3_server.environment())


def pytest_report_header() -> str:
    return f"S3 server: {s3_server.KIND}"


class _Scheduling(LoadScopeScheduling):
    """A file's tests stay together, in one process: they share what it has made."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False  # the order is that of pytest_collection_modifyitems
    return _Scheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(markers.Watch())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    markers.mark(items)


# What a test starts: tests/support/markers.py has the marker of each.


@pytest.fixture(scope="session")
def a_process() -> ModuleType:
    """To start programs with."""
    return subprocess


@pytest.fixture(scope="session")
def private_ray() -> None:
    """For a test of which a run, or the test itself, starts a Ray of its own."""


@pytest.fixture(scope="session")
def a_cluster():
    """To start a Ray cluster of several nodes: `with a_cluster("2") as cluster`."""
    from tests.support.local_cluster import local_cluster

    return local_cluster


@pytest.fixture(scope="session")
def tiny_components():
    """Random weights, a few thousand parameters; do not change them."""
    from tests.support.tiny_models.stable_diffusion import components

    return components()


@pytest.fixture(scope="session")
def tiny_model(tiny_components, tmp_path_factory) -> Path:
    """The same as a pipeline folder on disk, in float32."""
    import torch

    folder = tmp_path_factory.mktemp("tiny-model")
    tiny_components.save(folder, torch.float32)
    return folder


@pytest.fixture(scope="session")
def local_ray():
    """One Ray for all tests that need one; a run inside it leaves it standing."""
    import ray

    for start in (1, 2, 3):
        try:
            ray.init(
                address="local",  # not whatever else runs on this machine
                num_cpus=8,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                _node_ip_address="127.0.0.1",
            )
            break
        except Exception as error:  # Ray raises what it is
            ray.shutdown()
            # It waits for 30 s, which a busy machine may need to read its programs.
            if start == 3 or "timed out" not in str(error):
                raise
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def a_plain_report():
    """In place of the page that each run of a file makes in a second of a core; yields the real."""
    from zsd_ray.reports import html

    with pytest.MonkeyPatch.context() as patch:
        real = html.render_report
        patch.setattr(html, "render_report", lambda run, *_: f"<p>{run.status}</p>")
        yield real


@pytest.fixture(scope="session")
def running_s3(tmp_path_factory):
    """The S3 server of all tests; they take `s3`."""
    with s3_server.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(running_s3) -> Iterator[s3_server.S3]:
    """A real S3 server with an empty bucket; it runs when the test starts, and goes on after it."""
    yield s3_server.S3(running_s3)
    running_s3.start()
