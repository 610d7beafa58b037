"""Opens the filesystem of a path or URL; for s3://, as the storage section says."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import fsspec

from zsd_ray.config.run import StorageConfig
from zsd_ray.records.errors import StoreError, UserError, WriteError
from zsd_ray.records.redaction import reason, redact
from zsd_ray.storage.retry import patiently, set_patience

T = TypeVar("T")

# What fsspec's own files and variables say of s3; a run's settings go on top, and not into it.
_INHERITED: dict[str, Any] = dict(fsspec.config.conf.get("s3", {}))
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# Of one attempt, in seconds; `patiently` decides how many there are.
_CONNECT_TIMEOUT, _READ_TIMEOUT = 5, 15

_configured = False
_endpoint: str | None = None


def configure(storage: StorageConfig, retry_seconds: float | None = None) -> None:
    """Settle how this process reaches s3:// URLs from now on, whatever was settled before.

    What is open already stays as it is.

    Args:
        retry_seconds: instead of the section's own, where a user waits for an answer.
    """
    global _configured, _endpoint
    named = (os.environ.get(name) for name in _ENDPOINT_VARIABLES)
    _endpoint = storage.endpoint or next(filter(None, named), None)
    _configured = True
    set_patience(storage.retry_seconds if retry_seconds is None else retry_seconds)
    fsspec.config.conf["s3"] = _s3_options(storage)
    if "s3fs" in sys.modules:  # its instances know old keys and profiles
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def open_filesystem(path: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a path or URL, and the path as that filesystem writes it.

    Nothing is asked of a store yet.
    """
    if not _configured:
        configure(StorageConfig())
    fs, root = fsspec.core.url_to_fs(path)
    if is_s3(fs):
        fs.retries = 1  # s3fs's own, which know no limit in time
    return fs, root


def is_s3(fs: Any) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "s3" in protocols


def ask(path: str, call: Callable[[], T]) -> T:
    """Call something that asks the store of `path`, patiently.

    Raises:
        StoreError: the store did not answer.
    """
    at = f"at {redact(_endpoint)}" if _endpoint and is_s3_url(path) else f"of {redact(path)}"
    return patiently(call, f"the store {at}")


def is_s3_url(path: str) -> bool:
    return path.startswith(("s3://", "s3a://"))


def reason_of(error: BaseException, path: str) -> str:
    """What an error about `path` says, in one line that tells no secret of it or of the store."""
    return reason(error, path, _endpoint or "")


def user_error(what: str, error: BaseException, path: str, advice: str = "") -> UserError:
    """The UserError that says `what` went wrong, and why."""
    if isinstance(error, WriteError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, StoreError):
        return UserError(f"{what}: {error}; check storage.endpoint, and that it runs")
    return UserError(f"{what}: {reason_of(error, path)}{advice}")


def find_matching(fs: Any, pattern: str) -> list[str]:
    """Full paths of the files that match a glob pattern, sorted."""
    if not is_s3(fs):
        found = fs.glob(pattern, detail=True)
        return sorted(path for path, info in found.items() if info["type"] != "directory")
    # fsspec's glob leaves out the folders whose listing failed, and so loses images in silence.
    literal = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    folder, _, stem = literal.rpartition("/")
    matches = re.compile(fsspec.utils.glob_translate(pattern)).match
    return sorted(path for path in fs.find(folder, prefix=stem) if matches(path))


def list_folder(fs: Any, folder: str) -> list[str]:
    """Full paths of what lies directly in a folder, sorted; none where there is no folder."""
    try:
        return sorted(fs.ls(folder, detail=False))
    except FileNotFoundError:
        return []


def _s3_options(storage: StorageConfig) -> dict[str, Any]:
    """What s3fs is given for every s3:// URL."""
    config: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "retries": {"total_max_attempts": 1},
    }
    if storage.region:
        config["region_name"] = storage.region
    if _endpoint:
        # Other servers than Amazon's refuse the checksums that botocore adds on its own.
        for key in ("request_checksum_calculation", "response_checksum_validation"):
            if f"AWS_{key.upper()}" not in os.environ:
                config[key] = "when_required"
    options: dict[str, Any] = {
        "config_kwargs": _INHERITED.get("config_kwargs", {}) | config,
        # Parts are written by other processes.
        "use_listings_cache": False,
    }
    if storage.endpoint:
        options["endpoint_url"] = storage.endpoint
    if storage.profile:
        options["profile"] = storage.profile
    if storage.anonymous:
        options["anon"] = True
    return _INHERITED | options
