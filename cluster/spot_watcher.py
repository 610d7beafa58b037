"""Drains this Ray node when the cloud announces that it takes the spot machine back.

    nohup python cluster/spot_watcher.py aws &      # or gcp; on every worker node, beside Ray

Ray's cluster launcher has no such watcher. Once the node drains, Ray places nothing new on it and
zsd_ray hands its work to other workers at once, instead of after a failed health check. Ends with 0
when the node drains, 1 when the announced time came first. Needs only Python and `ray` on the PATH.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

METADATA = {"aws": "http://169.254.169.254", "gcp": "http://metadata.google.internal"}
GCP_SECONDS = 30  # between the notice and the end; EC2 names the time itself
# Never through a proxy: the address is this machine's own.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Notice(NamedTuple):
    """What was announced, and until when (seconds since 1970) the machine stays; None: unknown."""

    what: str
    until: float | None


def aws(url: str, on_rebalance: bool) -> Callable[[], Notice | None]:
    """Return a poll of EC2's metadata service, version 2: every read needs a session token."""
    token: str | None = None

    def read(path: str) -> str | None:
        nonlocal token
        if token is None:
            seconds = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            token = _fetch(f"{url}/latest/api/token", seconds, "PUT")
        try:
            return _fetch(f"{url}/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": token})
        except urllib.error.HTTPError as error:
            if error.code == 404:  # nothing announced
                return None
            token = None  # 401: it has expired
            raise

    def poll() -> Notice | None:
        action = read("spot/instance-action")
        if action is not None:
            action = json.loads(action)
            until = datetime.fromisoformat(action["time"]).timestamp()
            return Notice(f"EC2 spot {action['action']} at {action['time']}", until)
        if on_rebalance and read("events/recommendations/rebalance") is not None:
            return Notice("EC2 rebalance recommendation", None)
        return None

    return poll


def gcp(url: str) -> Callable[[], Notice | None]:
    """Return a poll of Compute Engine's metadata service."""

    def poll() -> Notice | None:
        path = f"{url}/computeMetadata/v1/instance/preempted"
        if _fetch(path, {"Metadata-Flavor": "Google"}).strip() != "TRUE":
            return None
        return Notice("Compute Engine preemption", time.time() + GCP_SECONDS)

    return poll


def watch(poll: Callable[[], Notice | None], interval: float) -> int:
    """Poll until something is announced, then drain until Ray accepts it or the time is up."""
    notice = None
    while notice is None:
        try:
            notice = poll()
        except (OSError, ValueError, KeyError) as error:  # away for a moment, or not understood
            print(f"spot_watcher: {error}", file=sys.stderr, flush=True)
        if notice is None:
            time.sleep(interval)
    print(f"spot_watcher: {notice.what}; draining this node", file=sys.stderr, flush=True)
    while not drain(notice):
        if notice.until is not None and time.time() > notice.until:
            return 1
        time.sleep(interval)
    return 0


def drain(notice: Notice) -> bool:
    """Ask Ray to drain the node on which this runs; whether it accepted."""
    command = ["ray", "drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", notice.what]
    if notice.until is not None:
        command += ["--deadline-remaining-seconds", str(max(0, int(notice.until - time.time())))]
    try:
        return subprocess.run(command, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"spot_watcher: {error}", file=sys.stderr, flush=True)
        return False


def _fetch(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - http only
    with _open(request, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cloud", choices=METADATA)
    parser.add_argument("--interval", type=float, default=2, help="seconds between polls")
    parser.add_argument("--metadata", help="URL of the metadata service, for a test")
    parser.add_argument(
        "--on-rebalance",
        action="store_true",
        help="aws: drain already when EC2 sees a raised risk; most such machines live on for hours",
    )
    options = parser.parse_args()
    url = options.metadata or METADATA[options.cloud]
    poll = aws(url, options.on_rebalance) if options.cloud == "aws" else gcp(url)
    sys.exit(watch(poll, options.interval))
