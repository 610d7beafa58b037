"""Which Ray a run takes."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import ray
import yaml

from zsd_ray.config.run import ClusterConfig
from zsd_ray.records.errors import RunBrokenError, UserError
from zsd_ray.runtime import private_ray
from zsd_ray.runtime.cluster import _own_handlers


def listening(process):
    """Addresses at which a process and all that it started can be reached, with their names."""
    found = set()
    try:
        for each in [process, *process.children(recursive=True)]:
            connections = each.net_connections("inet")
            found |= {(each.name(), c.laddr.ip) for c in connections if c.status == "LISTEN"}
    except psutil.Error:
        pass  # it ended meanwhile
    return found


@pytest.mark.usefixtures("private_ray")
def test_without_an_address_ray_is_private_whatever_the_environment_names(tmp_path):
    """It listens on loopback only, and a long TMPDIR is none of its sockets' names."""
    tree = {
        "data": {"limit": 2},
        "pruning": {"rule": "none", "draws": 2},
        "cluster": {"workers": 1},
        "output": {"path": str(tmp_path / "run")},
        "tracking": {"mlflow": "off"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    long = tmp_path / ("long" * 20)
    long.mkdir()
    with (tmp_path / "said").open("w") as said:
        process = psutil.Popen(
            [sys.executable, "-m", "zsd_ray.cli", "run", str(tmp_path / "run.yaml")],
            env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1", "TMPDIR": str(long)},
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        found, end = set(), time.monotonic() + 540
        while process.poll() is None and time.monotonic() < end:
            if not any(name.startswith("ray::ModelWorke") for name, _ in found):
                found |= listening(process)
            time.sleep(1)
    assert process.wait(1) == 0, (tmp_path / "said").read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    assert {"gcs_server", "raylet", "ray::ModelWorke"} <= {name[:15] for name, _ in found}
    assert {address for _, address in found} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_names_of_sockets_are_short_enough(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/short")
    assert private_ray._temp_dir() is None
    monkeypatch.setenv("TMPDIR", "/" + "é" * 40)
    assert private_ray._temp_dir() == "/tmp/ray"  # noqa: S108
    monkeypatch.setattr(private_ray.os, "access", lambda *_: False)
    with pytest.raises(UserError, match=r"too long for Ray's sockets.* at most \d\d characters"):
        private_ray._temp_dir()


@pytest.mark.parametrize(
    ("error", "expected", "starts"),
    [
        (Exception("first\nThe current node timed out during startup."), RunBrokenError, 3),
        (ValueError("no such option"), RunBrokenError, 1),
        (PermissionError(13, "Permission denied", "/x/ray"), PermissionError, 1),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(monkeypatch, error, expected, starts):
    """And one that the machine was too busy for is started again."""
    tried = []

    def init(**_):
        tried.append(True)
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(expected, match=r"(timed out during startup|option).*--local|Permission"):
        private_ray.start_private(ClusterConfig())
    assert len(tried) == starts
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


def test_a_signal_while_ray_starts_waits_for_the_start_and_reaches_our_handler(monkeypatch):
    ended = []
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    set_handler = ray._private.utils.set_sigterm_handler
    started = []

    def start(n_signals):
        with _own_handlers():
            ray._private.utils.set_sigterm_handler(lambda *_: sys.exit(15))  # as ray.init does
            for _ in range(n_signals):
                os.kill(os.getpid(), signal.SIGTERM)
            started.append(n_signals)

    try:
        for n_signals in (1, 2):
            with pytest.raises(KeyboardInterrupt):
                start(n_signals)
        assert started == [1]
        assert ended == [True, True]
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert ray._private.utils.set_sigterm_handler is set_handler
    finally:
        signal.signal(signal.SIGTERM, before)
