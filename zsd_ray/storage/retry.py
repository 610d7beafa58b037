"""Retries for stores that do not answer, as distinct from files that are missing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from zsd_ray.records.errors import StoreError
from zsd_ray.records.redaction import reason

T = TypeVar("T")

_FIRST_SLEEP, _LONGEST_SLEEP = 0.2, 15.0
# Error codes with a status below 500 that still mean "not now" or "incomplete transfer".
_PASSING_CODES = {
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
_TOO_MANY_REQUESTS, _SERVER_ERROR, _NOT_IMPLEMENTED = 429, 500, 501


class _Waiting:
    """The number of this process's calls that are waiting for a store now.

    The only state kept per process: it is observed, and no setting.
    """

    def __init__(self) -> None:
        self.n_calls = 0
        self.lock = threading.Lock()

    def add(self, change: int) -> None:
        with self.lock:
            self.n_calls += change


_waiting = _Waiting()


def waiting() -> bool:
    """Return whether some call of this process is waiting for a store to come back.

    Such a process is not hung.
    """
    return _waiting.n_calls > 0


def patiently(
    call: Callable[[], T],
    seconds: Callable[[], float],
    store: str = "the store",
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return the result of `call`, and retry it while the store does not answer.

    `call` may run several times, so it must be safe to repeat after a failure.

    Args:
        seconds: returns how long to retry; called after each failure, since it may change.
        store: its name in the message.

    Raises:
        StoreError: it did not answer for those seconds, counted from its first failure: a
            transfer may take as long as it likes.
        Exception: whatever else `call` raises, at once.
    """
    since: float | None = None
    longest = _FIRST_SLEEP
    try:
        while True:
            try:
                return call()
            except Exception as error:
                if not is_transient(error):
                    raise
                now = clock()
                if since is None:
                    since = now
                    _waiting.add(+1)
                left = since + seconds() - now
                if left <= 0:
                    raise StoreError(
                        f"{store} did not answer for {now - since:.0f} s ({reason(error)}); "
                        "nothing is wrong with what it holds"
                    ) from error
            # Many workers lose a store together; their retries should not coincide.
            share = random.uniform(0.5, 1)  # noqa: S311 - no secret
            sleep(min(left, share * longest))
            longest = min(2 * longest, _LONGEST_SLEEP)
    finally:
        if since is not None:
            _waiting.add(-1)


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed later without any change.

    True for errors of networks and overloaded servers; false for missing or forbidden files, wrong
    requests, and errors of local files.
    """
    if isinstance(
        error,
        StoreError
        | FileNotFoundError
        | FileExistsError
        | IsADirectoryError
        | NotADirectoryError
        | PermissionError,
    ):
        return False
    if isinstance(error, (TimeoutError, ConnectionError, *_network_errors())):
        return True
    # s3fs turns an answer of the store into an OSError, and keeps the answer as its cause.
    return any(_says_later(answer) for answer in (error, error.__cause__))


@cache
def _network_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of fsspec's libraries for a failed, cut or timed-out connection."""
    # Imported when an error needs judging: local runs do without.
    import aiohttp
    from botocore import exceptions, parsers

    return (
        aiohttp.ClientConnectionError,
        aiohttp.ClientPayloadError,
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        parsers.ResponseParserError,
    )


def _says_later(answer: Any) -> bool:
    """Return whether a ClientError (botocore) or ClientResponseError (aiohttp) says to retry."""
    response = getattr(answer, "response", None)
    if isinstance(response, dict):
        code = response.get("Error", {}).get("Code")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    else:
        code, status = None, getattr(answer, "status", 0)
    if code in _PASSING_CODES or status == _TOO_MANY_REQUESTS:
        return True
    return isinstance(status, int) and status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED
