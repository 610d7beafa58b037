"""The connection to a Ray cluster: a running one, or a private one on this machine."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import ray
from ray.exceptions import RayError, RayTaskError

from zsd_ray.config.run import ClusterConfig
from zsd_ray.records.errors import RunBrokenError, UserError, last_line
from zsd_ray.runtime.private_ray import start_private

_PROBE_SECONDS = 5.0


@contextmanager
def cluster(config: ClusterConfig, device: str) -> Iterator[None]:
    """Connect to `cluster.address`, or start a private Ray; leave a Ray that already runs here.

    Args:
        device: the workers' model.device.

    Raises:
        UserError: nothing answers, or this machine cannot hold the workers, or they ask for no GPU
            and for a CUDA device.
        RunBrokenError: Ray itself failed inside this context. An exception of another process is
            raised unchanged.
    """
    _check_device(config, device)
    with _plain_errors():
        if ray.is_initialized():  # the caller's own, in a notebook or a test
            yield
            return
        with _connected(config, device):
            yield


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Replace Ray's errors by the errors that caused them."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, RayError) and type(error.cause) is not RayError:
            raise _broken(error.cause) from error
        if type(error.cause) is RayError or not isinstance(error.cause, Exception):
            raise  # it could not be pickled, only its text
        raise error.cause from error
    except RayError as error:
        raise _broken(error) from error


def _broken(error: RayError) -> RunBrokenError:
    return RunBrokenError(f"{last_line(error)}; run the same command again to resume")


@contextmanager
def _connected(config: ClusterConfig, device: str) -> Iterator[None]:
    with _own_handlers():
        if config.address is None:
            start_private(config)
        else:
            _connect(config.address)
    try:
        _check_gpus(config, device)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep this process's signal handlers while Ray starts, and delay a signal until it has.

    Ray puts handlers of its own in their place, which end the process before anything is written;
    a start that is broken off may leave processes behind. A second signal is not kept waiting.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if waiting:
            raise KeyboardInterrupt
        waiting.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, wait)
    take, ray._private.utils.set_sigterm_handler = ray._private.utils.set_sigterm_handler, _ignore
    try:
        yield
    except BaseException:
        ray.shutdown()
        raise
    finally:
        ray._private.utils.set_sigterm_handler = take
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, handler)
    if waiting:
        ray.shutdown()
        signal.raise_signal(waiting[0])


def _ignore(handler: object) -> None:
    """Do nothing; replaces Ray's own function that sets a signal handler."""


def _connect(address: str) -> None:
    try:
        _probe(address)
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError, RayError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"cluster.address {address} does not answer ({reason}); start it with `ray start "
            "--head`, or leave cluster.address out to run on this machine"
        ) from error


def _probe(address: str) -> None:
    """Raise OSError where host:port takes no connection; Ray alone would try for ten minutes."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if separator and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_PROBE_SECONDS).close()


def _check_device(config: ClusterConfig, device: str) -> None:
    if device.startswith("cuda") and not config.gpus_per_worker:
        raise UserError(
            f"model.device {device} needs cluster.gpus_per_worker above 0: workers that ask for no "
            "GPU are given none"
        )


def _check_gpus(config: ClusterConfig, device: str) -> None:
    """Refuse workers that need more GPUs than a cluster of fixed size has."""
    if config.address is not None:
        return
    have = ray.cluster_resources().get("GPU", 0)
    workers = max(1, config.workers.min)
    need = config.gpus_per_worker * workers
    if need > have:
        raise UserError(
            f"cluster.gpus_per_worker: {workers} workers need {need:g} GPUs, and "
            f"this machine has {have:g}; set it to 0 to run on the CPU"
        )
