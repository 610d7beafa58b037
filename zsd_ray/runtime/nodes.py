"""The nodes of the cluster that are about to leave."""

from __future__ import annotations

import ray


def leaving() -> set[str]:
    """Return ids of nodes that are dead or drain (spot notice, autoscaler, `ray drain-node`)."""
    # As Ray's own libraries ask; the public API does not report draining.
    draining: set[str] = set(ray._private.state.state.get_draining_nodes())
    return draining | {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
