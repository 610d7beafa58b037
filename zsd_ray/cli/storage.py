"""How commands that take no file are told to reach s3:// URLs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zsd_ray.records.errors import UserError

if TYPE_CHECKING:
    from zsd_ray.config.run import StorageConfig

_SECONDS = 10.0


def configure_storage(overrides: Sequence[str]) -> StorageConfig:
    """Set the storage section that `--set storage.KEY=VALUE` describes; raises UserError."""
    from zsd_ray.config.run import StorageConfig, parse_config
    from zsd_ray.storage import filesystem

    tree = {}
    for override in overrides:
        name, separator, value = override.partition("=")
        section, _, key = name.partition(".")
        if section != "storage" or not key or not separator:
            raise UserError(f"--set takes storage.KEY=VALUE here, but came {override!r}")
        tree[key] = value
    config = parse_config(StorageConfig, tree, "--set storage")
    filesystem.configure(config, retry_seconds=_SECONDS)
    return config
