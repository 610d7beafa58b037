"""The executor of independent tasks: this process, or a crew of workers on Ray."""

from __future__ import annotations

from zsd_ray.config.run import ClusterConfig
from zsd_ray.runtime.pieces import DoAll, do_here


def workers(local: bool, cluster: ClusterConfig, device: str) -> DoAll:
    """Return the executor of a job's tasks: this process, or a crew on Ray."""
    if local:
        return do_here
    from zsd_ray.runtime.crew import Crew

    return Crew(cluster, device)
