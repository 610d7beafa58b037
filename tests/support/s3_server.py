"""A real S3 server on loopback that a test can cut off and bring back: Ceph's, else moto's."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.processes import SECONDS
from zsd_ray.config.storage import StorageConfig

ACCESS_KEY, SECRET_KEY = "testsaccess", "testssecret"
HAS_CEPH = all(shutil.which(name) for name in ("radosgw", "ceph-mon", "ceph-osd", "ceph"))
KIND = "Ceph" if HAS_CEPH else "moto, an emulation (radosgw, ceph-mon, ceph-osd: not on PATH)"
_SCRIPT = Path(__file__).with_name("ceph.sh")


def environment() -> dict[str, str]:
    """What every process of the tests needs, workers too: keys, and nothing of the user's own."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class S3Server:
    """A running server; `stop` makes it go away with its data kept, `start` brings it back."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._runs = True

    def stop(self) -> None:
        if self._runs:
            self._runs = False
            self._stop()

    def start(self) -> None:
        if not self._runs:
            self._start()
            self._runs = True

    def _stop(self) -> None:
        raise NotImplementedError

    def _start(self) -> None:
        raise NotImplementedError


class _Ceph(S3Server):
    def __init__(self, port: int, script: subprocess.Popen[str]) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self._script = script

    def _tell(self, command: str) -> None:
        assert self._script.stdin is not None
        assert self._script.stdout is not None
        self._script.stdin.write(f"{command}\n")
        self._script.stdin.flush()
        assert self._script.stdout.readline() == "done\n", f"ceph.sh ended at {command!r}"

    def _stop(self) -> None:
        self._tell("stop")

    def _start(self) -> None:
        self._tell("start")


class _Moto(S3Server):
    """moto keeps its data in memory, so it runs on; a door in front of it opens and shuts."""

    def __init__(self, port: int, inner_port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self._port, self._inner_port = port, inner_port
        self._open: list[socket.socket] = []
        self._start()

    def _start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self._port))
        self._open = [listener]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop(self) -> None:
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # shut
            while True:
                outer, _ = listener.accept()
                inner = socket.create_connection(("127.0.0.1", self._inner_port))
                self._open += [outer, inner]
                for ends in ((outer, inner), (inner, outer)):
                    threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # shut
        while content := source.recv(1 << 16):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)


class S3:
    """One test's share of the server.

    Attributes:
        storage: the storage section that reaches the server.
        url: s3:// URL of an empty bucket of the test's own.
        client: a botocore client, for what a test wants to do past zsd_ray.
    """

    def __init__(self, server: S3Server, retry_seconds: float = 60) -> None:
        import botocore.session

        self._server = server
        self.endpoint = server.endpoint
        self.storage = StorageConfig(endpoint=self.endpoint, retry_seconds=retry_seconds)
        self.client: Any = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        self.bucket = f"test-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=self.bucket)
        self.url = f"s3://{self.bucket}"

    def stop(self) -> None:
        """Cut the server off, with its data kept."""
        self._server.stop()

    def start(self) -> None:
        """Bring it back, at the same port."""
        self._server.start()

    def put_folder(self, folder: Path, prefix: str) -> str:
        """Upload a folder, and return its URL."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes())
        return f"{self.url}/{prefix}"

    def keys(self) -> list[str]:
        """The names of all objects, sorted."""
        found = self.client.list_objects_v2(Bucket=self.bucket)
        return sorted(item["Key"] for item in found.get("Contents", []))

    def make_public(self) -> None:
        """Let everybody list and read the bucket."""
        allow = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self.client.put_bucket_policy(Bucket=self.bucket, Policy=policy)


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server with its files in `folder`, until the context ends."""
    with _ceph(folder) if HAS_CEPH else _moto(folder) as server:
        yield server


@contextmanager
def _ceph(folder: Path) -> Iterator[S3Server]:
    s3_port, mon_port = _free_ports(2)
    with (folder / "ceph.sh.log").open("w+") as log:
        script = subprocess.Popen(
            [str(_SCRIPT), str(folder), str(s3_port), str(mon_port)],
            env=os.environ | {"S3_ACCESS_KEY": ACCESS_KEY, "S3_SECRET_KEY": SECRET_KEY},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is for pytest, which then closes stdin
        )
        assert script.stdin is not None
        assert script.stdout is not None
        try:
            if script.stdout.readline() != "ready\n":
                script.wait(SECONDS)
                log.seek(0)
                raise RuntimeError(f"Ceph did not start: {log.read()} (see {folder})")
            yield _Ceph(s3_port, script)
        finally:
            script.stdin.close()
            script.wait(SECONDS)
            script.stdout.close()


@contextmanager
def _moto(folder: Path) -> Iterator[S3Server]:
    port, inner_port = _free_ports(2)
    with (folder / "moto.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(inner_port)],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(inner_port)
            server = _Moto(port, inner_port)
            yield server
            server.stop()
        finally:
            process.kill()
            process.wait(SECONDS)


def _free_ports(n: int) -> list[int]:
    probes = [socket.socket() for _ in range(n)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens at port {port}")
