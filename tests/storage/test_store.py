"""What a Store makes of URLs, by its storage section; nothing here is asked of a server."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest
from botocore.exceptions import ClientError
from s3fs import S3FileSystem
from s3fs.errors import translate_boto_error

from zsd_ray.config.identity import resolved
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.config.storage import StorageConfig
from zsd_ray.data.location import Location
from zsd_ray.data.readers.folder import FolderDataset
from zsd_ray.data.readers.parquet_reader import ParquetDataset
from zsd_ray.models.files.source import resolve
from zsd_ray.records.errors import StoreError, UserError
from zsd_ray.results.output import Output
from zsd_ray.storage.filesystem import is_s3
from zsd_ray.storage.store import Store

NOWHERE = "http://me:SECRET@127.0.0.1:9"
CHECKSUMS = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


def s3(**storage: Any) -> Any:
    """The filesystem of an s3:// URL under a storage section."""
    return Store(StorageConfig(**storage)).open("s3://bucket/x")[0]


def test_a_section_reaches_s3fs() -> None:
    fs = s3(endpoint="http://host:9000", region="eu-west-9", profile="lab", anonymous=True)
    assert fs.endpoint_url == "http://host:9000"
    assert fs.kwargs["profile"] == "lab"
    assert fs.anon is True
    assert fs.config_kwargs["region_name"] == "eu-west-9"
    assert fs.config_kwargs.items() >= CHECKSUMS.items()
    assert fs.dircache.use_listings_cache is False
    assert fs.retries == 1


def test_another_run_of_the_process_keeps_nothing_of_the_one_before() -> None:
    plain = s3()
    set_up = s3(endpoint="http://host:9000", profile="lab", anonymous=True, region="eu-west-9")
    again = s3()
    assert set_up.endpoint_url == "http://host:9000"
    assert (again.endpoint_url, again.anon, again.kwargs) == (None, False, plain.kwargs)
    assert again.config_kwargs == plain.config_kwargs
    assert not CHECKSUMS.keys() & again.config_kwargs.keys()
    assert again is not plain  # which may have read old keys and profiles


def test_what_fsspec_itself_is_told_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    inherited = {"requester_pays": True, "config_kwargs": {"max_pool_connections": 3}}
    monkeypatch.setitem(fsspec.config.conf, "s3", inherited)
    fs = s3(region="eu-west-9")
    assert fs.requester_pays is True
    assert fs.config_kwargs["max_pool_connections"] == 3
    assert fs.config_kwargs["region_name"] == "eu-west-9"


def test_the_usual_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host:9000")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    config = s3().config_kwargs
    assert config["request_checksum_calculation"] == "when_required"
    assert "response_checksum_validation" not in config
    with pytest.raises(StoreError, match="the store at http://host:9000 did not answer"):
        Store(retry_seconds=0).ask("s3://bucket/x", fail)


def fail() -> None:
    raise ConnectionResetError


def test_a_retry_time_of_ones_own() -> None:
    store = Store(StorageConfig(retry_seconds=900), retry_seconds=0)
    with pytest.raises(StoreError, match="the store of s3://bucket/x did not answer for 0 s"):
        store.ask("s3://bucket/x", fail)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "touch",
    [
        lambda url, store: FolderDataset(Location(url, store)),
        lambda url, store: resolve(ModelConfig(path=url), (), store),
        lambda url, store: Output(url, store).prepare(),
        lambda url, store: Output(url, store).read_run(),
    ],
    ids=["data", "model", "output", "run.json"],
)
@pytest.mark.parametrize("endpoint", [NOWHERE, "http://me:SEC/RET@host:x"])
def test_an_endpoint_that_cannot_be_is_one_line_without_its_password(
    touch: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store(StorageConfig(endpoint=endpoint), retry_seconds=0.1)
    with pytest.raises(UserError) as caught:
        touch("s3://bucket/x", store)
    message = str(caught.value)
    assert "s3://bucket/x" in message
    assert "\n" not in message
    assert "SEC" not in message
    assert "RET" not in message


async def busy(*args: Any, **kwargs: Any) -> None:
    response = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    raise translate_boto_error(ClientError(response, "ListObjectsV2"))


def test_a_listing_that_failed_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's walk, below its find and glob, leaves out what it cannot list: rows were lost."""
    store = Store(retry_seconds=0)
    monkeypatch.setattr(S3FileSystem, "_call_s3", busy)
    assert store.open("s3://bucket")[0].find("bucket/run/decisions", maxdepth=1) == []
    with pytest.raises(StoreError):
        Output("s3://bucket/run", store).read_table("decisions")
    for path in ("s3://bucket/data/*.parquet", "s3://bucket/*/a.parquet", "s3://bucket/data"):
        with pytest.raises(UserError, match="did not answer"):
            ParquetDataset(Location(path, store), "image", "label")


def test_the_message_names_the_endpoint_and_what_to_check() -> None:
    store = Store(StorageConfig(endpoint=NOWHERE), retry_seconds=0.1)
    with pytest.raises(UserError) as caught:
        Output("s3://bucket/run", store).read_run()
    assert "output.path s3://bucket/run cannot be used: the store at http://***@127.0.0.1:9" in str(
        caught.value
    )
    assert "check storage.endpoint" in str(caught.value)


def test_the_record_of_a_run_holds_no_password_and_no_keys() -> None:
    config = parse_config(RunConfig, {"storage": {"endpoint": NOWHERE}})
    text = json.dumps(resolved(config))
    assert "http://***@127.0.0.1:9" in text
    assert "testsecret" not in text
    with pytest.raises(UserError, match=r"unknown key storage\.secret"):
        parse_config(RunConfig, {"storage": {"secret": "x"}})


def test_other_filesystems_are_left_alone(tmp_path: Path) -> None:
    fs, root = Store(StorageConfig(endpoint="http://host:9000")).open(str(tmp_path))
    assert (fs.protocol, root) == (("file", "local"), str(tmp_path))
    assert fsspec.filesystem("memory").protocol == "memory"


def test_two_stores_live_in_one_process() -> None:
    one = Store(StorageConfig(endpoint="http://one:9000", retry_seconds=0))
    other = Store(StorageConfig(endpoint="http://other:9000", region="eu-west-9"))
    opened = [store.open("s3://bucket/x")[0] for store in (one, other, one)]
    assert [fs.endpoint_url for fs in opened] == [
        f"http://{n}:9000" for n in ("one", "other", "one")
    ]
    assert opened[0] is opened[2]
    assert "region_name" not in opened[2].config_kwargs
    for place in (Output("s3://bucket/run", one), Location("s3://bucket/x", one)):
        with one.impatient(0.1), pytest.raises(StoreError, match="at http://one:9000 did not"):
            place._ask(fail)
        assert (one.seconds, other.seconds) == (0, 900)
    with other.impatient(0), pytest.raises(StoreError, match="at http://other:9000 did not"):
        Output("s3://bucket/run", other)._ask(fail)


def test_whoever_holds_a_store_loses_patience_with_it() -> None:
    store = Store()
    held = Output("s3://bucket/run", store), Location("s3://bucket/x", store)
    for place in held:
        with (
            pytest.raises(StoreError, match="did not answer for 0 s"),
            store.impatient(0),
        ):
            place._ask(fail)
    assert store.seconds == 900


def test_a_copy_in_another_process_is_as_patient_as_the_store_was_made() -> None:
    store = Store(StorageConfig(endpoint="http://host:9000"), 7)
    store.open("s3://bucket/x")
    with store.impatient(1):
        output, location = pickle.loads(  # noqa: S301 - our own
            pickle.dumps((Output("s3://bucket/run", store), Location("s3://bucket/x", store)))
        )
    assert output.store is location._store
    assert (output.store.seconds, output.store.endpoint) == (7, "http://host:9000")
    assert output._opened[0].endpoint_url == "http://host:9000"


@pytest.mark.parametrize("url", ["s3://bucket/x", "s3a://bucket/x", "simplecache::s3://bucket/x"])
def test_nothing_of_fsspec_itself_changes(url: str) -> None:
    before = copy.deepcopy(fsspec.config.conf)
    fs, root = Store(StorageConfig(endpoint="http://host:9000", anonymous=True)).open(url)
    assert root == "bucket/x"
    inner = fs if is_s3(fs) else fs.fs
    assert (inner.endpoint_url, inner.anon) == ("http://host:9000", True)
    assert fsspec.config.conf == before
    assert fsspec.filesystem("s3").endpoint_url is None


def test_a_store_opens_every_path_of_one_server_alike() -> None:
    store = Store()
    first, second = store.open("s3://bucket/x"), store.open("s3a://other/y/z")
    assert (first[1], second[1]) == ("bucket/x", "other/y/z")
    assert first[0] is second[0]
