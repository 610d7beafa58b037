"""What a worker is given of its node, and whether that is there."""

from __future__ import annotations

from typing import Any

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
"""The environment of a process without a GPU. Ray hides other workers' GPUs from those that have
one, and leaves all of the node's to those that asked for none."""


def environment(gpus: float, cpus: int) -> dict[str, str]:
    """Variables of a worker's process with so many GPUs and cores."""
    threads = {"OMP_NUM_THREADS": str(cpus)}
    return threads if gpus else threads | NO_GPU


def options(gpus: float, cpus: int) -> dict[str, Any]:
    """Arguments of an actor's `options` that give it so many GPUs and cores."""
    return {
        "num_gpus": gpus,
        "num_cpus": cpus,
        "runtime_env": {"env_vars": environment(gpus, cpus)},
    }
