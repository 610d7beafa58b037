"""Locations: what is shown of a path or URL, and what is kept from the reader of a message."""

from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import pytest

from zsd_ray.data.location import Location
from zsd_ray.data.readers.folder import FolderDataset
from zsd_ray.data.readers.parquet_reader import ParquetDataset
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@host:80/a/b.png", "https://***@host:80/a/b.png"),
        ("https://host:8080/a@b/c", "https://***@b/c"),  # perhaps a user called host
        ("ftp://token@host/a", "ftp://***@host/a"),
        ("https://me:p/w@host/a", "https://***@host/a"),
        ("https://me:p@/w@host/a", "https://***@host/a"),
        ("https://host/a.parquet?X-Signature=abc", "https://host/a.parquet?***"),
        ("simplecache::https://me:pw@host/a", "simplecache::https://***@host/a"),
        ("abfs://container@account.dfs.core.windows.net/a", None),
        ("s3://bucket/a@b?c", None),
        ("/home/me/a@b:c", None),
    ],
)
def test_redact(url: str, shown: str | None) -> None:
    assert redact(url) == (url if shown is None else shown)


def test_sources_of_a_url_with_a_password_hide_it() -> None:
    location = Location("memory://me:SECRET@host/data")
    assert location.shown == "memory://***@host/data"
    assert b"SECRET" in pickle.dumps(location)  # workers still need it to read


@pytest.mark.parametrize("path", ["nosuchprotocol://me:SECRET@host/x", "s3://me:SEC/RET@host:x"])
def test_messages_tell_no_password(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, **options: object) -> None:
        raise ValueError(f"port could not be read as an integer: {url[8:11]!r}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    for open_data in (FolderDataset, lambda url: ParquetDataset(url, "image", "label")):
        with pytest.raises(UserError, match=r"cannot read data\.path .*: ValueError") as caught:
            open_data(path)
        assert "***" in str(caught.value)
        assert "SEC" not in str(caught.value)
        assert "RET" not in str(caught.value)


def test_a_reason_is_one_short_line() -> None:
    location = Location("/data")
    assert location.reason(ValueError("two\nlines  here")) == "two lines here"
    assert location.reason(ValueError()) == "ValueError"
    assert location.reason(PermissionError(13, "Permission denied")) == "Permission denied"
    assert len(location.reason(ValueError("x" * 10_000))) == 200


def test_what_is_at_a_place(memory: str, tmp_path: Path) -> None:
    for root in (memory, str(tmp_path)):
        place = Location(root)
        fs = fsspec.core.url_to_fs(root)[0]
        fs.makedirs(place.join("a"))
        fs.pipe(place.join("a/b.txt"), b"0123456789")
        assert [place.exists(name) for name in ("a", "a/b.txt", "b.txt", "a/b.txt/c")] == [
            True, True, False, False,
        ]  # fmt: skip
        assert place.size(place.join("a/b.txt")) == 10
        assert place.size(place.join("a")) is None
        assert place.size(place.join("b.txt")) is None
        below = place.below("a")
        assert below.shown == f"{place.shown}/a"
        assert below.files() == ["b.txt"]
        assert place.below("") is place.below(".") is place
        assert below.read_bytes(below.join("b.txt"), 3, 5) == b"34"
        assert below.read_bytes(below.join("b.txt"), 8, 20) == b"89"
