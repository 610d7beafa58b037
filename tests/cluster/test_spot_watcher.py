"""The watcher against an imitation of the clouds' metadata services, with a `ray` that records."""

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.processes import SECONDS

WATCHER = Path(__file__).parents[2] / "cluster" / "spot_watcher.py"


class Metadata(BaseHTTPRequestHandler):
    """Answers from `server.pages`: path -> bodies, one a request and the last one for ever."""

    def do_PUT(self) -> None:
        self.server.tokens += 1
        wanted = "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self._answer(200 if wanted else 400, f"token-{self.server.tokens}")

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.startswith("/latest/"):
            allowed = self.headers["X-aws-ec2-metadata-token"] == f"token-{self.server.tokens}"
        else:
            allowed = self.headers["Metadata-Flavor"] == "Google"
        bodies = self.server.pages.get(self.path, [None])
        body = bodies.pop(0) if len(bodies) > 1 else bodies[0]
        if not allowed or body == "expired":
            self._answer(401, "")
        else:
            self._answer(404 if body is None else 200, body or "")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    server.pages, server.asked, server.tokens = {}, [], 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def watch(a_process, tmp_path, metadata):
    """Run the watcher; returns its exit code and the arguments of every call of `ray`."""
    calls = tmp_path / "calls"
    calls.touch()
    ray = tmp_path / "ray"

    def run(*arguments: str, ray_exit: str = "exit 0") -> tuple[int, list[list[str]]]:
        ray.write_text(f'#!/bin/sh\nfor a in "$@"; do echo "$a"; done >>{calls}\n')
        ray.write_text(ray.read_text() + f"echo END >>{calls}\n{ray_exit}\n")
        ray.chmod(0o755)
        url = f"http://127.0.0.1:{metadata.server_port}"
        # A proxy that does not exist: the metadata service must be asked directly.
        environment = os.environ | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "http_proxy": "http://127.0.0.1:9",
            "no_proxy": "",
        }
        command = [sys.executable, WATCHER, *arguments, "--metadata", url, "--interval", "0.05"]
        done = subprocess.run(command, env=environment, timeout=SECONDS, check=False)
        texts = calls.read_text().split("END\n")[:-1]
        return done.returncode, [text.splitlines() for text in texts]

    return run


def _instance_action(seconds: float) -> str:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"action": "terminate", "time": until.strftime("%Y-%m-%dT%H:%M:%SZ")})


ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"


def test_a_spot_notice_drains_this_node_until_the_announced_time(metadata, watch):
    metadata.pages[ACTION] = [None, None, _instance_action(1200)]
    exit_code, calls = watch("aws")
    assert exit_code == 0
    [call] = calls
    assert call[:3] == ["drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    assert call[3] == "--reason-message"
    assert "EC2 spot terminate" in call[4]
    assert call[5] == "--deadline-remaining-seconds"
    assert 600 < int(call[6]) <= 1200
    assert metadata.asked == [ACTION] * 3  # a rebalance recommendation was not asked for


def test_the_arguments_are_those_of_the_installed_ray(metadata, watch):
    from click.testing import CliRunner
    from ray.scripts.scripts import drain_node

    metadata.pages[ACTION] = [_instance_action(120)]
    _, [call] = watch("aws")
    context = drain_node.make_context("drain-node", call[1:])  # raises where Ray would refuse
    assert context.params["reason"] == "DRAIN_NODE_REASON_PREEMPTION"
    assert CliRunner().invoke(drain_node, ["--reason", "SPOT", "--reason-message", "x"]).exit_code


def test_an_expired_session_token_is_renewed(metadata, watch):
    metadata.pages[ACTION] = [None, "expired", _instance_action(120)]
    assert watch("aws")[0] == 0
    assert metadata.tokens == 2


def test_an_answer_that_is_not_understood_is_asked_for_again(metadata, watch):
    metadata.pages[ACTION] = ["<html>", "{}", _instance_action(120)]
    exit_code, calls = watch("aws")
    assert (exit_code, len(calls)) == (0, 1)


def test_a_rebalance_recommendation_drains_only_where_asked_for(metadata, watch):
    metadata.pages[REBALANCE] = ['{"noticeTime": "2026-11-22T00:00:00Z"}']
    exit_code, [call] = watch("aws", "--on-rebalance")
    assert exit_code == 0
    assert "EC2 rebalance recommendation" in call
    assert "--deadline-remaining-seconds" not in call  # nobody knows it


def test_a_preemption_on_google_cloud_drains_within_its_thirty_seconds(metadata, watch):
    metadata.pages["/computeMetadata/v1/instance/preempted"] = ["FALSE", "FALSE", "TRUE"]
    exit_code, [call] = watch("gcp")
    assert exit_code == 0
    assert 20 < int(call[-1]) <= 30


def test_a_refused_drain_is_asked_for_again(metadata, watch, tmp_path):
    metadata.pages[ACTION] = [_instance_action(120)]
    once = tmp_path / "once"
    exit_code, calls = watch("aws", ray_exit=f"[ -e {once} ] || {{ touch {once}; exit 1; }}")
    assert (exit_code, len(calls)) == (0, 2)


def test_it_gives_up_when_the_machine_should_be_gone(metadata, watch):
    metadata.pages[ACTION] = [_instance_action(-1)]
    exit_code, calls = watch("aws", ray_exit="exit 1")
    assert exit_code == 1
    assert calls[0][-1] == "0"
