"""Access to files at paths and URLs: the settings of the storage section, and retries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import fsspec

from zsd_ray.config.storage import StorageConfig
from zsd_ray.records.errors import StoreError, UserError, WriteError
from zsd_ray.records.redaction import reason, redact
from zsd_ray.storage.filesystem import is_s3, is_s3_url
from zsd_ray.storage.retry import patiently

T = TypeVar("T")

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_PROTOCOLS = ("s3", "s3a")
# Of one attempt, in seconds; `patiently` decides how many there are.
_CONNECT_TIMEOUT, _READ_TIMEOUT = 5, 15


class Store:
    """Opens the filesystem of a path or URL, and retries failed requests.

    Every object that reaches files is given one; all objects of a run share it. Picklable: a copy
    begins with the retry time that this one was made with, and opens filesystems for itself.

    Attributes:
        seconds: how long requests to a store that does not answer are retried, from now on.
    """

    def __init__(
        self,
        config: StorageConfig = StorageConfig(),  # noqa: B008 - it is frozen
        retry_seconds: float | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            config: the settings for s3:// URLs; other paths need none.
            retry_seconds: replaces the section's own, where a user waits for an answer.
        """
        self._config = config
        self._retry_seconds = config.retry_seconds if retry_seconds is None else retry_seconds
        self.seconds = self._retry_seconds
        self._filesystems: dict[str, Any] = {}

    def __getstate__(self) -> tuple[StorageConfig, float]:
        return self._config, self._retry_seconds

    def __setstate__(self, state: tuple[StorageConfig, float]) -> None:
        Store.__init__(self, *state)

    @property
    def endpoint(self) -> str | None:
        """The URL of the S3 server, if it is not Amazon's."""
        named = (os.environ.get(name) for name in _ENDPOINT_VARIABLES)
        return self._config.endpoint or next(filter(None, named), None)

    def open(self, path: str) -> tuple[Any, str]:
        """Return the fsspec filesystem of a path or URL, and the path as that filesystem writes it.

        Nothing is asked of a store yet.
        """
        protocols = {bit.partition("://")[0] for bit in path.split("::")}.intersection(_PROTOCOLS)
        if not protocols:
            fs, root = fsspec.core.url_to_fs(path)
            return fs, root
        key = "s3" if is_s3_url(path) and "?" not in path else path
        fs = self._filesystems.get(key)
        if fs is None:
            # Not from fsspec's own cache, whose instances know old keys and profiles.
            options: dict[str, Any] = {name: self._s3_options() for name in protocols}
            fs, root = fsspec.core.url_to_fs(path, skip_instance_cache=True, **options)
            if is_s3(fs):
                fs.retries = 1  # s3fs's own, which know no limit in time
            self._filesystems[key] = fs
            return fs, root
        return fs, fs._strip_protocol(path)

    def ask(self, path: str, call: Callable[[], T]) -> T:
        """Call a function that accesses the store of `path`, with retries.

        Raises:
            StoreError: the store did not answer.
        """
        endpoint = self.endpoint
        at = f"at {redact(endpoint)}" if endpoint and is_s3_url(path) else f"of {redact(path)}"
        return patiently(call, lambda: self.seconds, f"the store {at}")

    @contextmanager
    def impatient(self, seconds: float) -> Iterator[None]:
        """Limit the retry time of this store, for all its holders, until the block ends."""
        before, self.seconds = self.seconds, seconds
        try:
            yield
        finally:
            self.seconds = before

    def reason_of(self, error: BaseException, path: str) -> str:
        """Return an error's text in one line, without secrets of `path` or of the store."""
        return reason(error, path, self.endpoint or "")

    def user_error(self, what: str, error: BaseException, path: str, advice: str = "") -> UserError:
        """Return the UserError that says `what` went wrong, and why."""
        if isinstance(error, WriteError) and error.__cause__ is not None:
            error = error.__cause__
        if isinstance(error, StoreError):
            return UserError(f"{what}: {error}; check storage.endpoint, and that it runs")
        return UserError(f"{what}: {self.reason_of(error, path)}{advice}")

    def _s3_options(self) -> dict[str, Any]:
        """Return the s3fs options for s3:// URLs, beside fsspec's own files and variables."""
        storage = self._config
        config: dict[str, Any] = {
            "connect_timeout": _CONNECT_TIMEOUT,
            "read_timeout": _READ_TIMEOUT,
            "retries": {"total_max_attempts": 1},
        }
        if storage.region:
            config["region_name"] = storage.region
        if self.endpoint:
            # Other servers than Amazon's refuse the checksums that botocore adds on its own.
            for key in ("request_checksum_calculation", "response_checksum_validation"):
                if f"AWS_{key.upper()}" not in os.environ:
                    config[key] = "when_required"
        inherited = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        options: dict[str, Any] = {
            "config_kwargs": inherited | config,
            # Parts are written by other processes.
            "use_listings_cache": False,
        }
        if storage.endpoint:
            options["endpoint_url"] = storage.endpoint
        if storage.profile:
            options["profile"] = storage.profile
        if storage.anonymous:
            options["anon"] = True
        return options
