"""The options for s3:// URLs of commands that take no configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zsd_ray.records.errors import UserError

if TYPE_CHECKING:
    from zsd_ray.config.storage import StorageConfig
    from zsd_ray.storage.store import Store

_SECONDS = 10.0


def storage_section(overrides: Sequence[str]) -> StorageConfig:
    """Return the storage section that `--set storage.KEY=VALUE` describes; raises UserError."""
    from zsd_ray.config.run import parse_config
    from zsd_ray.config.storage import StorageConfig

    tree = {}
    for override in overrides:
        name, separator, value = override.partition("=")
        section, _, key = name.partition(".")
        if section != "storage" or not key or not separator:
            raise UserError(f"--set takes storage.KEY=VALUE here, but came {override!r}")
        tree[key] = value
    return parse_config(StorageConfig, tree, "--set storage")


def store_of(overrides: Sequence[str]) -> Store:
    """Return the store of that section, with a short retry time; raises UserError."""
    from zsd_ray.storage.store import Store

    return Store(storage_section(overrides), _SECONDS)
