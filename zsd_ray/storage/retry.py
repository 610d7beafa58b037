"""Patience with a store that does not answer: asked again, and told apart from what is missing."""

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
# What a store answers with a status below 500, and yet means "not now" or "that came in pieces".
_PASSING_CODES = {
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
_TOO_MANY_REQUESTS, _SERVER_ERROR, _NOT_IMPLEMENTED = 429, 500, 501


class _Waiting:
    """How many of this process's calls are waiting for a store just now.

    The one thing that is kept per process: what is seen of it, and nothing that is set.
    """

    def __init__(self) -> None:
        self.n_calls = 0
        self.lock = threading.Lock()

    def add(self, change: int) -> None:
        with self.lock:
            self.n_calls += change


_waiting = _Waiting()


def waiting() -> bool:
    """Whether some call of this process is waiting for a store to come back.

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
    """Return what `call` returns, and call it again where the store does not answer.

    `call` may run several times: what it did before it failed must not matter.

    Args:
        seconds: tells how long it is asked again; asked after each failure, for it may change.
        store: what the message calls it.

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
            # Many workers lose a store together; they should not come back in step.
            share = random.uniform(0.5, 1)  # noqa: S311 - no secret
            sleep(min(left, share * longest))
            longest = min(2 * longest, _LONGEST_SLEEP)
    finally:
        if since is not None:
            _waiting.add(-1)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later, although nobody changes anything.

    So it is for what networks and overloaded servers do, and not for what is missing, forbidden,
    or wrong in the request; nor for the errors of local files.
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
    """What the libraries below fsspec raise where a connection fails, is cut, or takes too long."""
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
    """Whether a store's answer, as botocore's ClientError or aiohttp's ClientResponseError."""
    response = getattr(answer, "response", None)
    if isinstance(response, dict):
        code = response.get("Error", {}).get("Code")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    else:
        code, status = None, getattr(answer, "status", 0)
    if code in _PASSING_CODES or status == _TOO_MANY_REQUESTS:
        return True
    return isinstance(status, int) and status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED
