"""Everything that zsd_ray reads and writes, on a real S3 server that goes away and comes back."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.checkpoints import read_checkpoints
from tests.support.processes import SECONDS, wait_until
from tests.support.s3_server import ACCESS_KEY, HAS_CEPH, S3, SECRET_KEY
from zsd_ray.config.run import ModelConfig
from zsd_ray.config.storage import StorageConfig
from zsd_ray.data.labels.classes import read_names
from zsd_ray.data.location import Location
from zsd_ray.data.readers.folder import FolderDataset
from zsd_ray.data.readers.parquet_reader import ParquetDataset
from zsd_ray.models.files.source import fingerprint, resolve
from zsd_ray.records.errors import ImageError, StoreError, UserError
from zsd_ray.results.output import Output
from zsd_ray.results.rows.schema import DECISIONS
from zsd_ray.storage.retry import waiting
from zsd_ray.storage.store import Store

NEEDS_CEPH = pytest.mark.skipif(not HAS_CEPH, reason="moto checks no keys")


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def level_of(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


@pytest.fixture
def pets(store: S3) -> str:
    """The URL of two folders of images in which image N has grey level N."""
    for number, name in enumerate(("cat/a.png", "cat/b c.png", "dog/é.png")):
        store.client.put_object(Bucket=store.bucket, Key=f"pets/{name}", Body=png(number))
    return f"{store.url}/pets"


def write_parquet(store: S3, key: str, levels: range, rows_a_group: int = 2) -> None:
    table = pa.table({"image": [png(level) for level in levels], "label": [n % 2 for n in levels]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=rows_a_group)
    store.client.put_object(Bucket=store.bucket, Key=key, Body=buffer.getvalue())


def part(*image_ids: str) -> bytes:
    row = {"stop_reason": "one-class-left", "prediction": 0, "n_evaluations": 4, "n_spent": 4}
    rows = [{"image_id": image_id, **row} for image_id in image_ids]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=DECISIONS), buffer)
    return buffer.getvalue()


# ---- what is read and written


@pytest.mark.quick
def test_an_output(store: S3, reach: Store) -> None:
    output = Output(f"{store.url}/runs/one", reach)
    assert output.read_run() is None
    output.prepare()
    assert output.read_table("decisions").num_rows == 0
    output.write_bytes("decisions/part-1.parquet", part("a", "b"))
    output.write_bytes("decisions/part-2.parquet", part("c"))
    output.write_bytes("scores/part-9.parquet", b"left by a killed writer")
    assert output.read_table("decisions", ["image_id"]).to_pydict() == {"image_id": ["a", "b", "c"]}
    assert read_checkpoints(output) == []
    output.write_checkpoint(0, b"state")
    assert read_checkpoints(Output(output.path, reach)) == [b"state"]
    output.prepare()
    assert store.keys() == [
        "runs/one/checkpoints/0.parquet",
        "runs/one/decisions/part-1.parquet",
        "runs/one/decisions/part-2.parquet",
        "runs/one/scores/part-9.parquet",
    ]
    assert output.read_table("scores").num_rows == 0  # not read; it goes when a run has ended
    output.remove_checkpoints()
    output.remove_checkpoints()
    assert read_checkpoints(output) == []


def test_parts_of_other_processes_are_seen_at_once(store: S3, reach: Store) -> None:
    output = Output(f"{store.url}/run", reach)
    for n in range(3):
        key = f"run/decisions/part-{n}.parquet"
        store.client.put_object(Bucket=store.bucket, Key=key, Body=part(f"image-{n}"))
        assert output.read_table("decisions").num_rows == n + 1


def test_a_part_is_never_seen_half(store: S3, reach: Store) -> None:
    # 120 MB go up in pieces.
    content = os.urandom(1 << 20) * 120
    output = Output(f"{store.url}/run", reach)
    writer = threading.Thread(target=output.write_bytes, args=("scores/part-1.parquet", content))
    writer.start()
    sizes = set()
    while writer.is_alive():
        found = store.client.list_objects_v2(Bucket=store.bucket).get("Contents", [])
        sizes.update(item["Size"] for item in found)
    writer.join()
    sizes.update(
        item["Size"] for item in store.client.list_objects_v2(Bucket=store.bucket)["Contents"]
    )
    assert sizes == {len(content)}


def test_a_folder_of_images(store: S3, pets: str, reach: Store) -> None:
    data = FolderDataset(Location(pets, reach))
    assert data.label_names == ["cat", "dog"]
    read = {record.image_id: level_of(data.read(n)) for n, record in enumerate(data.records)}
    assert read == {"cat/a.png": 0, "cat/b c.png": 1, "dog/é.png": 2}
    assert {record.source for record in data.records} >= {f"{pets}/cat/b c.png"}


def test_marks_of_folders_are_classes_only_where_nothing_lies_in_them(
    store: S3, pets: str, reach: Store
) -> None:
    for key in ("pets/", "pets/cat/", "pets/.cache/"):
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"")
    assert FolderDataset(Location(f"{pets}/", reach)).label_names == ["cat", "dog"]
    for key in ("pets/emu/", "pets/fox/.gitkeep"):
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"")
    with pytest.raises(UserError, match=r"holds 2 class folders without images \(emu, fox\)"):
        FolderDataset(Location(pets, reach))


def test_an_image_that_is_gone_is_the_images_error(store: S3, pets: str, reach: Store) -> None:
    data = FolderDataset(Location(pets, reach))
    number = next(n for n, r in enumerate(data.records) if r.image_id == "cat/a.png")
    store.client.delete_object(Bucket=store.bucket, Key="pets/cat/a.png")
    with pytest.raises(ImageError, match=r"cat/a\.png: cannot be read \(no such file or folder\)"):
        data.read(number)


@pytest.mark.parametrize("path", ["", "/a.parquet", "/*.parquet", "/**/?.parquet"])
def test_parquet_files(store: S3, path: str, reach: Store) -> None:
    write_parquet(store, "data/a.parquet", range(3))
    write_parquet(store, "data/notes.txt", range(1))
    if path != "/a.parquet":
        write_parquet(store, "data/b.parquet", range(3, 5))
    data = ParquetDataset(Location(f"{store.url}/data{path}", reach), "image", "label")
    levels = [level_of(data.read(n)) for n in range(len(data.records))]
    assert levels == list(range(3 if path == "/a.parquet" else 5))
    assert data.records[0].image_id == "a.parquet:0"
    assert data.records[0].source == f"{store.url}/data/a.parquet:0"


def test_a_pattern_of_nothing(store: S3, reach: Store) -> None:
    write_parquet(store, "data/a.parquet", range(3))
    with pytest.raises(UserError, match="is no file, folder or pattern that matches"):
        ParquetDataset(Location(f"{store.url}/data/x*.parquet", reach), "image", "label")


def test_class_names(store: S3, reach: Store) -> None:
    store.client.put_object(Bucket=store.bucket, Key="names.txt", Body="cat\némeu\n".encode())
    assert read_names(f"{store.url}/names.txt", reach) == ["cat", "émeu"]


@pytest.mark.quick
def test_a_model(
    store: S3, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: Store
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = store.put_folder(tiny_model, "models/tiny")
    folder = resolve(ModelConfig(path=url), (), reach)
    assert fingerprint(folder) == fingerprint(tiny_model)
    (weights,) = (folder / "vae").glob("*.safetensors")
    index = folder / "model_index.json"
    fetched = weights.stat().st_mtime_ns, index.stat().st_mtime_ns
    resolve(ModelConfig(path=url), (), reach)
    assert (weights.stat().st_mtime_ns, index.stat().st_mtime_ns) == fetched
    # Retrained: of the same size.
    key = f"models/tiny/vae/{weights.name}"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    store.client.put_object(Bucket=store.bucket, Key=key, Body=bytes(content))
    resolve(ModelConfig(path=url), (), reach)
    assert weights.read_bytes() == content
    assert index.stat().st_mtime_ns == fetched[1]


def test_a_model_whose_keys_leave_its_folder(
    store: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: Store
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    for key in ("models/odd/model_index.json", "models/odd/../../../../x.json"):
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"{}")
    with pytest.raises(UserError, match=r"'\.\./\.\./\.\./\.\./x\.json', which may lie outside"):
        resolve(ModelConfig(path=f"{store.url}/models/odd"), (), reach)
    assert list(tmp_path.rglob("*.json")) == []


# ---- who may


@NEEDS_CEPH
def test_a_public_bucket_without_keys(
    store: S3, pets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make_public()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with_keys = Store(StorageConfig(endpoint=store.endpoint), retry_seconds=1)
    with pytest.raises(UserError, match="Unable to locate credentials"):
        FolderDataset(Location(pets, with_keys))
    anonymous = Store(StorageConfig(endpoint=store.endpoint, anonymous=True))
    data = FolderDataset(Location(pets, anonymous))
    assert sorted(level_of(data.read(n)) for n in range(3)) == [0, 1, 2]


def test_keys_of_a_profile(
    store: S3, pets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    (tmp_path / "credentials").write_text(f"[lab]\n{keys}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    lab = Store(StorageConfig(endpoint=store.endpoint, profile="lab"))
    assert len(FolderDataset(Location(pets, lab)).records) == 3
    absent = Store(StorageConfig(endpoint=store.endpoint, profile="absent"))
    with pytest.raises(UserError, match="absent"):
        FolderDataset(Location(pets, absent))


@NEEDS_CEPH
def test_a_wrong_key_is_a_user_error_at_once(
    store: S3, pets: str, monkeypatch: pytest.MonkeyPatch, reach: Store
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    reach = Store(store.storage, 3600)  # if it were waited for, for longer than any test
    for touch in (
        lambda url: FolderDataset(Location(url, reach)),
        lambda url: Output(url, reach).prepare(),
    ):
        with pytest.raises(UserError) as caught:
            touch(pets)
        assert pets in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_an_output_in_no_bucket_is_a_user_error_and_makes_none(store: S3, reach: Store) -> None:
    url = f"{store.url}-mistyped/run"
    with pytest.raises(UserError, match=r"-mistyped/run cannot be written: there is no such buck"):
        Output(url, reach).prepare()
    names = [bucket["Name"] for bucket in store.client.list_buckets()["Buckets"]]
    assert not [name for name in names if name.endswith("-mistyped")]


# ---- a store that goes away


def test_a_write_gets_through_when_the_store_comes_back(store: S3, reach: Store) -> None:
    output = Output(f"{store.url}/run", reach)
    output.write_bytes("before", b"1")
    store.stop()
    done: list[float] = []

    def write() -> None:
        output.write_bytes("decisions/part-1.parquet", part("a"))
        done.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(waiting)
    assert done == []
    back = time.monotonic()
    store.start()
    writer.join(SECONDS)
    assert done[0] >= back
    assert not waiting()
    assert output.read_table("decisions")["image_id"].to_pylist() == ["a"]
    assert store.keys() == ["run/before", "run/decisions/part-1.parquet"]  # its data were kept


def test_the_store_is_cut_off_in_the_middle_of_a_write(store: S3, reach: Store) -> None:
    output, content = Output(f"{store.url}/run", reach), os.urandom(1 << 20) * 90  # one request
    for _ in range(20):
        writer = threading.Thread(target=output.write_bytes, args=("part", content))
        writer.start()
        time.sleep(0.15)
        store.stop()
        wait_until(lambda writer=writer: waiting() or not writer.is_alive())
        in_the_middle = waiting()
        store.start()
        writer.join(SECONDS)
        if in_the_middle:
            break
    assert in_the_middle, "every write was over before the store went away"
    assert store.client.get_object(Bucket=store.bucket, Key="run/part")["Body"].read() == content


def test_reading_goes_on_when_the_store_comes_back(store: S3, pets: str, reach: Store) -> None:
    write_parquet(store, "data/a.parquet", range(4))
    images, rows = (
        FolderDataset(Location(pets, reach)),
        ParquetDataset(Location(f"{store.url}/data", reach), "image", "label"),
    )
    first = level_of(images.read(0))
    store.stop()
    levels: list[int] = []

    def read() -> None:
        levels.extend([level_of(images.read(0)), *(level_of(rows.read(n)) for n in range(4))])

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(waiting)
    store.start()
    reader.join(SECONDS)
    assert levels == [first, 0, 1, 2, 3]


def test_a_store_that_stays_away_is_no_image_error(store: S3, pets: str, reach: Store) -> None:
    write_parquet(store, "data/a.parquet", range(4))
    images, rows = (
        FolderDataset(Location(pets, reach)),
        ParquetDataset(Location(f"{store.url}/data", reach), "image", "label"),
    )
    output = Output(f"{store.url}/run", reach)
    store.stop()
    reach.seconds = 2  # all of them hold it
    for call in (
        lambda: images.read(0),
        lambda: rows.read(0),
        lambda: output.write_bytes("part", b"x"),
        lambda: output.read_table("decisions"),
    ):
        started = time.monotonic()
        with pytest.raises(StoreError, match=f"the store at {store.endpoint} did not answer for "):
            call()
        assert 2 <= time.monotonic() - started < 120  # with tries that answer late


def test_a_store_that_is_away_at_the_start_is_a_user_error(
    store: S3, pets: str, reach: Store
) -> None:
    store.stop()
    reach.seconds = 0.5
    for touch in (
        lambda url: FolderDataset(Location(url, reach)),
        lambda url: ParquetDataset(Location(url, reach), "image", "label"),
        lambda url: read_names(url, reach),
        lambda url: resolve(ModelConfig(path=url), (), reach),
        lambda url: Output(url, reach).prepare(),
        lambda url: Output(url, reach).read_run(),
    ):
        with pytest.raises(UserError, match=rf"{pets}.* the store at {store.endpoint} did not an"):
            touch(pets)
