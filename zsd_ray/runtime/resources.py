"""The resources that a worker gets of its node, and a check that they exist."""

from __future__ import annotations

import socket
import warnings
from typing import Any

from zsd_ray.records.errors import UserError

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
"""The environment of a process without a GPU. Ray hides other workers' GPUs from those that have
one, and leaves all of the node's to those that asked for none."""


def environment(gpus: float, cpus: int) -> dict[str, str]:
    """Return the environment variables of a worker with these GPUs and cores."""
    threads = {"OMP_NUM_THREADS": str(cpus)}
    return threads if gpus else threads | NO_GPU


def options(gpus: float, cpus: int) -> dict[str, Any]:
    """Return the arguments of an actor's `options` that give it these GPUs and cores."""
    return {
        "num_gpus": gpus,
        "num_cpus": cpus,
        "runtime_env": {"env_vars": environment(gpus, cpus)},
    }


def check_gpu(gpus: float, device: str, instead: str = "set device: cpu") -> None:
    """Refuse a worker that was given a GPU which torch cannot use: it would run on the processor.

    Args:
        device: where the worker is to compute, as `model.device` says it.
        instead: the setting that asks for the processor.

    Raises:
        UserError: torch sees no CUDA device, and the processor was not asked for.
    """
    if not gpus or device == "cpu":
        return
    import torch

    with warnings.catch_warnings(record=True) as said:  # of a driver that is too old
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if found:
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "processors only"
    reason = "".join(f" ({str(warning.message).splitlines()[0]})" for warning in said[:1])
    raise UserError(
        f"cluster.gpus_per_worker {gpus:g}: torch {torch.__version__}, a build for {build}, sees "
        f"no CUDA device on {socket.gethostname()}{reason}; "
        f"install a torch that fits the node's driver (nvidia-smi names it), or {instead}"
    )
