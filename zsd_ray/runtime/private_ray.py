"""A private Ray of this process: on loopback only, with socket paths that are short enough."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from zsd_ray.config.run import ClusterConfig
from zsd_ray.records.errors import RunBrokenError, UserError, last_line

_STARTS = 3
_LONGEST_SOCKET = 107  # bytes of a Unix socket's path
_SHORT = "/tmp"  # noqa: S108 - Ray makes a folder of its own in it


def start_private(config: ClusterConfig) -> None:
    """Start a Ray for the workers that `config` names, and connect to it.

    Raises:
        UserError: no folder for its sockets has a name that is short enough.
        RunBrokenError: it does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    needed = config.workers.max * config.cpus_per_worker
    options = {
        # Not None, which would follow RAY_ADDRESS or any cluster that runs on this machine.
        "address": "local",
        "num_cpus": max(os.cpu_count() or 1, needed),
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "error",
        "_temp_dir": _temp_dir(),
    }
    for start in range(1, _STARTS + 1):
        try:
            with _on_loopback():
                ray.init(**options)
            return
        except OSError:
            raise  # the disk or the rights are this machine's matter
        except Exception as error:  # Ray raises the error itself
            ray.shutdown()
            # It waits for 30 s, which a busy machine may need to read its programs.
            if start < _STARTS and "timed out" in str(error):
                continue
            raise RunBrokenError(
                f"Ray did not start on this machine ({last_line(error)}); run the same command "
                "again, with --local where the command has it, or when the machine is less busy"
            ) from error


def _temp_dir() -> str | None:
    """Return a folder for Ray's sessions if its own choice is too long; None: its own choice.

    Raises:
        UserError: the names of its sockets would be too long.
    """
    chosen = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or _SHORT
    name = f"{chosen}/ray/session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
    if len(os.fsencode(name)) <= _LONGEST_SOCKET:
        return None
    if os.access(_SHORT, os.W_OK | os.X_OK):
        return f"{_SHORT}/ray"
    most = _LONGEST_SOCKET - len(os.fsencode(name)) + len(os.fsencode(chosen))
    raise UserError(
        f"TMPDIR {chosen} is too long for Ray's sockets, and {_SHORT} cannot be written to; set "
        f"RAY_TMPDIR to a folder whose path has at most {most} characters"
    )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that is started inside listen on 127.0.0.1 only.

    By default Ray uses the machine's own address even if 127.0.0.1 is given, except on systems on
    which it supports no clusters. Here it is made to believe that this is one.
    """
    constants, name = ray._private.ray_constants, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    before = os.environ.get(name), constants.ENABLE_RAY_CLUSTER
    os.environ[name], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before[1]
        if before[0] is None:
            del os.environ[name]
        else:
            os.environ[name] = before[0]
