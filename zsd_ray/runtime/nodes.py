"""The nodes of the cluster: which are about to go."""

from __future__ import annotations

import ray


def leaving() -> set[str]:
    """Ids of nodes that drain (a spot notice, the autoscaler, `ray drain-node`) or are dead."""
    # As Ray's own libraries ask; the public API does not tell of draining.
    draining: set[str] = set(ray._private.state.state.get_draining_nodes())
    return draining | {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
