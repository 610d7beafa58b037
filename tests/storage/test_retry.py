"""Which errors pass by waiting, and how long is waited."""

from __future__ import annotations

import errno
from collections.abc import Callable

import aiohttp
import pytest
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError
from s3fs.errors import translate_boto_error

from zsd_ray.records.errors import StoreError
from zsd_ray.storage.retry import is_transient, patiently, waiting


def answer(status: int, code: str) -> botocore.ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.ClientError(response, "GetObject")


def http_answer(status: int) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(None, (), status=status)  # type: ignore[arg-type]


TRANSIENT = [
    TimeoutError(),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    botocore.EndpointConnectionError(endpoint_url="http://x"),
    botocore.ConnectTimeoutError(endpoint_url="http://x"),
    botocore.ReadTimeoutError(endpoint_url="http://x"),
    botocore.ConnectionClosedError(endpoint_url="http://x"),
    botocore.ResponseStreamingError(error="cut"),
    botocore.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ResponseParserError("half an XML"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientPayloadError(),
    http_answer(502),
    http_answer(429),
    *(
        translate_boto_error(answer(status, code))
        for status, code in [
            (503, "SlowDown"),
            (503, "503"),
            (500, "InternalError"),
            (502, "502"),
            (504, "GatewayTimeout"),
            (429, "TooManyRequests"),
            (400, "RequestTimeout"),
            (400, "IncompleteBody"),
            (409, "OperationAborted"),
        ]
    ),
]
PERMANENT = [
    FileNotFoundError(),
    FileExistsError(),
    PermissionError(),
    IsADirectoryError(),
    NotADirectoryError(),
    OSError(errno.ENOSPC, "disk full"),
    OSError(errno.EIO, "a local disk"),
    OSError(errno.EBUSY, "a local device"),
    StoreError("given up"),
    ValueError("not Parquet"),
    botocore.NoCredentialsError(),
    botocore.ProfileNotFound(profile="x"),
    botocore.ParamValidationError(report="bad bucket name"),
    aiohttp.InvalidURL("x"),
    http_answer(403),
    http_answer(501),
    *(
        translate_boto_error(answer(status, code))
        for status, code in [
            (404, "NoSuchKey"),
            (404, "NoSuchBucket"),
            (403, "AccessDenied"),
            (403, "InvalidAccessKeyId"),
            (400, "ExpiredToken"),
            (400, "InvalidArgument"),
            (409, "BucketAlreadyExists"),
            (501, "NotImplemented"),
            (301, "PermanentRedirect"),
        ]
    ),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_networks_and_busy_servers_do_passes(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_what_is_missing_forbidden_or_wrong_does_not(error: Exception) -> None:
    assert not is_transient(error)


class Store:
    """Fails until a time on a clock that only sleeping moves."""

    def __init__(
        self, back_at: float, error: Exception | None = None, seconds: float = 900
    ) -> None:
        self.seconds = seconds
        self.now = 100.0
        self.back_at = 100.0 + back_at
        self.error = error or ConnectionResetError(errno.ECONNRESET, "connection reset")
        self.sleeps: list[float] = []
        self.waited: list[bool] = []

    def __call__(self) -> str:
        self.waited.append(waiting())
        if self.now < self.back_at:
            raise self.error
        return "content"

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def ask(self) -> str:
        return self.patiently(self, "the store of s3://b")

    def patiently(self, call: Callable[[], str], name: str) -> str:
        return patiently(call, lambda: self.seconds, name, clock=lambda: self.now, sleep=self.sleep)


def test_it_asks_again_more_and_more_seldom_until_the_store_is_back() -> None:
    store = Store(back_at=300)
    assert store.ask() == "content"
    assert store.sleeps[0] <= 0.2
    assert all(0.1 * 2**n <= sleep <= 0.2 * 2**n for n, sleep in enumerate(store.sleeps[:7]))
    assert 7.5 <= max(store.sleeps) <= 15
    assert len(store.sleeps) < 60


def test_it_gives_up_in_the_configured_time() -> None:
    store = Store(back_at=1000, seconds=20)
    with pytest.raises(StoreError) as caught:
        store.ask()
    assert sum(store.sleeps) == pytest.approx(20)
    assert str(caught.value) == (
        "the store of s3://b did not answer for 20 s (connection reset); nothing is wrong with "
        "what it holds"
    )


def test_without_patience_there_is_one_attempt() -> None:
    store = Store(back_at=1, seconds=0)
    with pytest.raises(StoreError):
        store.ask()
    assert store.sleeps == []


def test_a_permanent_error_is_raised_at_once() -> None:
    store = Store(back_at=1, error=FileNotFoundError("gone"))
    with pytest.raises(FileNotFoundError, match="gone"):
        store.ask()
    assert store.sleeps == []


def test_calls_inside_each_other_give_up_once() -> None:
    store = Store(back_at=1000, seconds=20)
    with pytest.raises(StoreError, match="s3://b"):
        store.patiently(store.ask, "outer")
    assert sum(store.sleeps) == pytest.approx(20)


def test_a_process_waits_from_the_first_failure_until_the_answer() -> None:
    store = Store(back_at=1)
    assert not waiting()
    store.ask()
    assert store.waited[0] is False
    assert store.waited[1:]
    assert all(store.waited[1:])
    assert not waiting()


def test_it_waits_no_more_when_it_gave_up() -> None:
    with pytest.raises(StoreError):
        Store(back_at=9, seconds=1).ask()
    assert not waiting()


def test_a_reason_tells_no_password() -> None:
    url = "http://me:SECRET@host:9000/bucket"
    store = Store(back_at=1, error=botocore.EndpointConnectionError(endpoint_url=url), seconds=0)
    with pytest.raises(StoreError, match=r"http://\*\*\*@host:9000") as caught:
        store.ask()
    assert "SECRET" not in str(caught.value)


def test_patience_may_end_while_it_waits() -> None:
    store = Store(back_at=1000)
    sleep = store.sleep

    def sleep_and_lose_patience(seconds: float) -> None:
        sleep(seconds)
        store.seconds = 5

    store.sleep = sleep_and_lose_patience  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        store.ask()
    assert sum(store.sleeps) == pytest.approx(5)
