"""Parquet files of images as other programs write them, and lying or damaged ones."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A column of images of Hugging Face's `datasets`."""

N_ROWS = 4


def image(seed: int = 0) -> bytes:
    """A small BMP; all of them have one length, as `binary(n)` asks for."""
    buffer = io.BytesIO()
    Image.new("L", (4, 3), 50 + seed).save(buffer, "BMP")
    return buffer.getvalue()


def written(columns: Mapping[str, Any], **options: Any) -> bytes:
    """A file with these columns."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer, **options)
    return buffer.getvalue()


def images() -> pa.Array:
    return pa.array([image(n) for n in range(N_ROWS)])


def good() -> bytes:
    """Four images with labels 0, 1, 0, 1."""
    return written({"image": images(), "label": pa.array([0, 1, 0, 1])}, row_group_size=2)


def whole() -> Mapping[str, bytes]:
    """Files whose four images have labels of two classes, in whatever types."""
    encoded = [image(n) for n in range(N_ROWS)]
    numbers = pa.array([0, 1, 0, 1])
    as_struct = [{"bytes": data, "path": "x.png"} for data in encoded]
    kinds = {
        "binary": pa.binary(), "large_binary": pa.large_binary(), "binary_view": pa.binary_view(),
        "binary of one size": pa.binary(len(encoded[0])),
    }  # fmt: skip
    structs = {
        "struct of views": [("bytes", pa.binary_view()), ("path", pa.string_view())],
        "struct of large": [("bytes", pa.large_binary()), ("path", pa.large_string())],
        "struct the other way round": [("path", pa.string()), ("bytes", pa.binary())],
        "struct with more": [("bytes", pa.binary()), ("path", pa.string()), ("id", pa.int64())],
    }
    texts = pa.array(["cat", "dog", "cat", "dog"])
    labels = {
        "string": texts, "large_string": texts.cast(pa.large_string()),
        "string_view": texts.cast(pa.string_view()), "dictionary": texts.dictionary_encode(),
        "dictionary of numbers": numbers.dictionary_encode(), "uint64": numbers.cast(pa.uint64()),
        "int8": numbers.cast(pa.int8()), "bool": numbers.cast(pa.bool_()),
    }  # fmt: skip
    return {
        **{
            f"images as {name}": written({"image": pa.array(encoded, kind), "label": numbers})
            for name, kind in kinds.items()
        },
        "images in a dictionary": written(
            {"image": pa.array(encoded).dictionary_encode(), "label": numbers}
        ),
        **{
            f"images as {name}": written(
                {"image": pa.array(as_struct, pa.struct(fields)), "label": numbers}
            )
            for name, fields in structs.items()
        },
        **{
            f"labels as {name}": written({"image": images(), "label": column})
            for name, column in labels.items()
        },
        "without statistics": written(
            {"image": images(), "label": numbers}, write_statistics=False
        ),
        "other compression": written({"image": images(), "label": numbers}, compression="zstd"),
    }


def refused() -> Mapping[str, bytes]:
    """Files that are none, or whose columns hold no images or no labels."""
    return {**_columns(), **_broken()}


@cache
def _columns() -> Mapping[str, bytes]:
    numbers = [0, 1, 0, 1]
    deep: Any = "x"
    for _ in range(40):
        deep = {"a": deep}
    labels: dict[str, Any] = {
        "2**31": pa.array([0, 1, 2**31, 1]),
        "2**64 - 1": pa.array([0, 1, 2, 2**64 - 1], pa.uint64()),
        "floats": pa.array([0.0, 1.0, float("nan"), 1.0]), "lists": pa.array([[0], [1], [0], [1]]),
        "bytes": pa.array([b"a", b"b", b"a", b"b"]), "dates": pa.array(numbers).cast(pa.date64()),
        "decimals": pa.array(numbers).cast(pa.decimal128(22, 2)),
        "a dictionary of floats": pa.array([0.0, 1.0, 0.0, 1.0]).dictionary_encode(),
        "nested": pa.array([deep] * N_ROWS),
    }  # fmt: skip
    columns: dict[str, Any] = {
        "text": pa.array(["a.png"] * N_ROWS), "numbers": pa.array(numbers),
        "lists of bytes": pa.array([list(image())] * N_ROWS, pa.list_(pa.uint8())),
        "a struct without bytes": pa.array([{"path": "a.png"}] * N_ROWS),
        "nested": pa.array([deep] * N_ROWS), "nulls": pa.nulls(N_ROWS),
        "a struct of nulls": pa.array([{"bytes": None}] * N_ROWS),
        "a struct of text": pa.array([{"bytes": "x", "path": "y"}] * N_ROWS),
    }  # fmt: skip
    names = {"info": {"features": {"label": {"names": ["a", "\ud800"]}}}}
    few = {"info": {"features": {"label": {"names": ["a"]}}}}
    return {
        **{f"labels: {k}": written({"image": images(), "label": v}) for k, v in labels.items()},
        **{f"images: {k}": written({"image": v, "label": numbers}) for k, v in columns.items()},
        "no image column": written({"label": numbers}),
        "no label column": written({"image": images()}),
        "no columns": written({}),
        "no rows": written({"image": images()[:0], "label": pa.array([], pa.int64())}),
        "names that are no text": _with_names(names),
        "fewer names than labels": _with_names(few),
    }


def _with_names(names: Any) -> bytes:
    table = pa.table({"image": images(), "label": [0, 1, 0, 1]})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(names)}), buffer)
    return buffer.getvalue()


@cache
def _broken() -> Mapping[str, bytes]:
    data = good()
    (n_footer,) = struct.unpack("<I", data[-8:-4])
    return {
        "an empty file": b"",
        "the magic bytes alone": b"PAR1",
        "cut in the middle": data[: len(data) // 2],
        "cut by a byte": data[:-1],
        "a footer of 4 gigabytes": data[:-8] + b"\xff\xff\xff\xff" + data[-4:],
        "a footer of nothing": data[:-8] + bytes(4) + data[-4:],
        "a footer of zeros": data[: -8 - n_footer] + bytes(n_footer) + data[-8:],
        "an encrypted footer": data[:-4] + b"PARE",
        "2**40 rows": lying_rows(2**40),
        "a negative number of rows": lying_rows(-5),
        "a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "a picture": image(),
    }


def lying_rows(n_rows: int) -> bytes:
    """A file of four rows that claims another number of them, in all places that say it."""
    data = written({"image": images(), "label": pa.array([0, 1, 0, 1], pa.int64())})
    (n_footer,) = struct.unpack("<I", data[-8:-4])
    footer = data[-8 - n_footer : -8]
    # Thrift's compact protocol: field 3 of the file, and field 3 of its row group, both i64 of 4.
    changed = footer.replace(b"\x16\x08", b"\x16" + _varint(n_rows))
    return data[: -8 - n_footer] + changed + struct.pack("<I", len(changed)) + data[-4:]


def _varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it: zigzag, 7 bits a byte."""
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def paths(*names: str | None) -> bytes:
    """What `Dataset.to_parquet()` writes of images that are files: no bytes, but their paths."""
    cells = [{"bytes": None, "path": name} for name in names]
    return written(
        {"image": pa.array(cells, STRUCT), "label": pa.array([n % 2 for n in range(len(names))])}
    )


def outside() -> Sequence[str]:
    """Paths that lead out of the folder of their file, or to another store."""
    return (
        "../secret.png", "a/../../secret.png", "..", "a/../../../etc/passwd", "a\\..\\secret.png",
        "http://127.0.0.1:9/x.png", "s3://bucket/x.png", "file:///etc/passwd", "~/secret.png",
        "zip://a.png::x.zip", "C:/secret.png", "a\0b.png", ".", "a//b.png",
    )  # fmt: skip


def damage(path: Path, rng: random.Random) -> str:
    """Damage a Parquet file, or one of those in a folder, in place; returns in which way."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    file = rng.choice(files)
    way = rng.choice(_WAYS)
    file.write_bytes(way(file.read_bytes(), rng))
    return f"{file.name}: {way.__name__.strip('_')}"


def _bytes_of_the_footer(data: bytes, rng: random.Random) -> bytes:
    (n_footer,) = struct.unpack("<I", data[-8:-4]) if len(data) > 8 else (0,)
    start = max(0, len(data) - 8 - n_footer)
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(min(start, len(changed) - 1), len(changed))] = rng.randrange(256)
    return bytes(changed)


def _bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _bytes_lost(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 8, 512)) :]


def _one_of_refused(data: bytes, rng: random.Random) -> bytes:
    cases = refused()
    return cases[rng.choice(sorted(cases))]


def _paths(data: bytes, rng: random.Random) -> bytes:
    return paths(*(rng.choice((*outside(), "here.png", "/here.png", None)) for _ in range(3)))


def _other_rows(data: bytes, rng: random.Random) -> bytes:
    return lying_rows(rng.choice((0, 1, 3, 5, 2**31, 2**62, -1)))


_WAYS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _bytes_of_the_footer, _bytes_of_the_footer, _bits, _cut, _bytes_lost, _one_of_refused, _paths,
    _other_rows,
)  # fmt: skip
