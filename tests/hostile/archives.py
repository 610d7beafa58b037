"""Tars that are rare, put together by other programs, lying or damaged; each name says how.

Written by hand, header by header, so that what they hold is known without tarfile.
"""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

BLOCK = 512
END = bytes(2 * BLOCK)
RECORD = 20 * BLOCK
"""What tar fills an archive up to."""


def image(seed: int = 0) -> bytes:
    """A small PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (seed % 256, 90, 120)).save(buffer, "PNG")
    return buffer.getvalue()


def header(name: bytes, size: int | bytes, kind: bytes = b"0", link: bytes = b"") -> bytes:
    """A header of ustar with a right check sum; a size of 12 bytes is taken as it is."""
    written = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(BLOCK)
    fields = (
        (0, name[:100]), (100, b"0000644\0" + b"0000000\0" * 2), (124, written),
        (136, b"%011o\0" % 0), (148, b" " * 8), (156, kind), (157, link), (257, b"ustar\0" + b"00"),
    )  # fmt: skip
    for start, field in fields:
        block[start : start + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str | bytes, data: bytes, kind: bytes = b"0") -> bytes:
    """A header and its data, filled up to whole blocks."""
    raw = name.encode() if isinstance(name, str) else name
    return header(raw, len(data), kind) + data + bytes(-len(data) % BLOCK)


def sample(key: str, label: object = 0, seed: int = 0) -> bytes:
    """An image and its label in a .cls."""
    return member(f"{key}.png", image(seed)) + member(f"{key}.cls", str(label).encode())


def pax(**keys: str) -> bytes:
    """The extended header that goes before the member that it is about."""
    body = b"".join(_record(f"{key}={value}\n".encode()) for key, value in keys.items())
    return member("./PaxHeaders/x", body, b"x")


def base256(number: int) -> bytes:
    """A size as GNU tar writes those that octal digits do not hold, or negative."""
    return (
        b"\xff" + (number % 256**11).to_bytes(11) if number < 0 else b"\x80" + number.to_bytes(11)
    )


def whole() -> Mapping[str, tuple[bytes, Sequence[str]]]:
    """Tars all of whose samples can be read, and the keys of these in order."""
    first, second = sample("0"), sample("1", 1, 1)
    full = first + END + bytes(-len(first + END) % RECORD)
    long = b"d" * 120 + b"/0"
    split = header(b"0.png", len(image())) + image() + bytes(-len(image()) % BLOCK)
    return {
        "one": (first + second + END, ["0", "1"]),
        "two, one after the other": (first + END + second + END, ["0", "1"]),
        "two, filled up to whole records": (full + second + END, ["0", "1"]),
        "three, the second of them empty": (first + END + END + second + END, ["0", "1"]),
        "a sample in two archives": (split + END + member("0.cls", b"1") + END, ["0"]),
        "one zero block at the end": (first + bytes(BLOCK), ["0"]),
        "a megabyte of zeros at the end": (first + END + bytes(2**20), ["0"]),
        "a megabyte of zeros between two": (first + END + bytes(2**20) + second + END, ["0", "1"]),
        "long names of GNU": (
            b"".join(
                member("././@LongLink", long + end + b"\0", b"L") + member("short", data)
                for end, data in ((b".png", image()), (b".cls", b"0"))
            )
            + END,
            [long.decode()],
        ),
        "long names of pax": (
            pax(path="ü.png") + member("short", image()) + pax(path="ü.cls") + member("s", b"0")
            + END,
            ["ü"],
        ),
        "names that begin with a slash": (
            member("/a/0.png", image()) + member("./a/0.cls", b"0") + END, ["a/0"],
        ),
        "a folder between": (first + header(b"sub/", 0, b"5") + second + END, ["0", "1"]),
    }  # fmt: skip


@cache
def refused() -> Mapping[str, bytes]:
    """Tars of which no image may be lost in silence, nor more memory be taken than they have."""
    first, second = sample("0"), sample("1", 1, 1)
    png = image()
    return {
        **_cut_and_damaged(first, second),
        **_lying(first, png),
        **{
            f"a member that is {what}": first + header(b"1.png", 0, kind, b"0.png") + END
            for what, kind in {
                "a hard link": b"1", "a link": b"2", "a device": b"3", "a pipe": b"6",
                "of no known kind": b"Q",
            }.items()
        },
        "a sparse member of GNU": first + header(b"1.png", 0, b"S") + END,
        "a sparse member of pax": (
            first + pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})
            + member("1.png", b"1\n0\n10\n" + bytes(600)) + END
        ),
        "a member twice": first + first + END,
        "a member twice, in two archives": first + END + first + END,
        "a member twice by two names": first + member("x/../0.png", png) + END,
        "a name that is not UTF-8": member(b"\xff\xfe.png", png) + first + END,
        "a name that is nothing but a null": pax(path="a\0b.png") + member("s", png) + END,
        "no image": member("0.cls", b"1") + END,
        "nothing": END,
        "an empty file": b"",
        "gzip": gzip.compress(first + END, mtime=0),
        "a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20,
    }  # fmt: skip


def _cut_and_damaged(first: bytes, second: bytes) -> Mapping[str, bytes]:
    two = first + END + second + END
    return {
        "cut in a header": two[: len(first + END) + 100],
        "cut in an image": two[: len(first + END) + BLOCK + 10],
        "cut before its end": first + second,
        "cut in its end": first + second + bytes(100),
        "garbage behind its end": first + END + bytes(range(256)) * 4,
        "a line break behind its end": first + END + b"\n",
        "the second archive moved by a byte": first + END + b"\0" + second + END,
        "a header of zeros": first + bytes(BLOCK) + second[BLOCK:] + END,
        "a check sum that is wrong": first + second[:148] + b"000000\0 " + second[156:] + END,
        "20 megabytes of zeros and an archive": first + END + bytes(20 * 2**20) + second + END,
    }


def _lying(first: bytes, png: bytes) -> Mapping[str, bytes]:
    digits = b"1" * 60_000
    return {
        "a size of 8 gigabytes": first + header(b"1.png", b"77777777777\0") + png + END,
        "a label of 8 gigabytes": member("1.png", png) + header(b"1.cls", b"77777777777\0") + END,
        "a size of 2**80": first + header(b"1.png", base256(2**80)) + png + END,
        "a negative size": first + header(b"1.png", base256(-BLOCK)) + png + END,
        "a negative size of pax": first + pax(size="-1024") + member("1.png", png) + END,
        "a size of pax that is no number": first + pax(size="many") + member("1.png", png) + END,
        "a name of 8 gigabytes": first + header(b"x", b"77777777777\0", b"L") + END,
        "a negative name": first + header(b"x", base256(-BLOCK), b"L") + END,
        "extended keys of 8 gigabytes": first + header(b"x", b"77777777777\0", b"x") + END,
        "extended keys without length": first + member("x", digits, b"x") + first + END,
        "extended keys of negative length": (
            first + member("x", b"-1 path=1.png\n", b"x") + member("1.png", png) + END
        ),
        "a chain of names": member("x", b"y\0", b"L") * 3000 + member("1.png", png) + END,
    }  # fmt: skip


def labels() -> Mapping[str, tuple[str, bytes]]:
    """Labels that are none: the extension of the file, and what it holds."""
    written: dict[str, object] = {
        "2**31": 2**31, "2**63": 2**63, "30 digits": 10**30, "a float": 1.5, "a whole float": 2.0,
        "a list": [1], "a mapping": {"label": 1}, "text and numbers": "cat",
    }  # fmt: skip
    return {
        **{f".json, {name}": ("json", _json(value)) for name, value in written.items()},
        ".json, NaN": ("json", b'{"label": NaN}'),
        ".json, infinite": ("json", b'{"label": 1e999}'),
        ".json, 5,000 digits": ("json", b'{"label": ' + b"9" * 5000 + b"}"),
        ".json, 100,000 lists deep": ("json", b'{"label": ' + b"[" * 100_000),
        ".json, cut": ("json", b'{"label": 1'),
        ".json, a list": ("json", b"[1]"),
        ".json, not UTF-8": ("json", b'{"label": "\xff"}'),
        ".json, half a surrogate": ("json", b'{"label": "\\ud800"}'),
        **{
            f".cls, {name}": ("cls", content)
            for name, content in {
                "2**31": b"2147483648", "20 digits": b"9" * 20, "5,000 digits": b"9" * 5000,
                "a float": b"1.0", "NaN": b"nan", "nothing": b"", "text": b"cat", "two": b"1 2",
                "a separator": b"1_0", "hexadecimal": b"0x1", "nulls": bytes(8),
                "not UTF-8": b"\xff\xfe1\x00", "digits that are not ASCII": b"\xd9\xa1",
            }.items()
        },
    }  # fmt: skip


def _json(value: object) -> bytes:
    return json.dumps({"label": value}).encode()


def _record(text: bytes) -> bytes:
    """A key of pax with its length, which counts its own digits."""
    n = len(text) + 2
    while len(b"%d " % n) + len(text) != n:
        n += 1
    return b"%d " % n + text


def damage(path: Path, rng: random.Random) -> str:
    """Damage a tar, or one of those in a folder, in place; returns in which way."""
    files = sorted(path.rglob("*.tar")) if path.is_dir() else [path]
    file = rng.choice(files)
    way = rng.choice(_WAYS)
    file.write_bytes(way(file.read_bytes(), rng))
    return f"{file.name}: {way.__name__.strip('_')}"


def _byte_in_a_header(data: bytes, rng: random.Random) -> bytes:
    """Most of a tar are images; with a check sum that is right, its readers believe it."""
    starts = [n for n in range(0, len(data), BLOCK) if data[n + 257 : n + 262] == b"ustar"]
    if not starts:
        return rng.randbytes(BLOCK)
    start, changed = rng.choice(starts), bytearray(data)
    for _ in range(rng.choice((1, 1, 5))):
        changed[start + rng.randrange(BLOCK)] = rng.randrange(256)
    if rng.random() < 0.7:
        changed[start + 148 : start + 156] = b" " * 8
        total = sum(changed[start : start + BLOCK])
        changed[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(changed)


def _another_size(data: bytes, rng: random.Random) -> bytes:
    starts = [n for n in range(0, len(data), BLOCK) if data[n + 257 : n + 262] == b"ustar"]
    if not starts:
        return b""
    start = rng.choice(starts)
    sizes = (b"77777777777\0", base256(2**70), base256(-1024), b"%011o\0" % rng.randrange(5000))
    name = data[start : start + 100].rstrip(b"\0")
    kind = rng.choice((b"0", b"L", b"x", b"g", b"S", b"1", data[start + 156 : start + 157]))
    return data[:start] + header(name, rng.choice(sizes), kind) + data[start + BLOCK :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _blocks_lost(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) // BLOCK + 1) * BLOCK
    return data[:start] + data[start + rng.choice((1, 2, 20)) * BLOCK :]


def _blocks_of_zeros(data: bytes, rng: random.Random) -> bytes:
    start, n = rng.randrange(len(data) // BLOCK + 1) * BLOCK, rng.choice((1, 2, 20)) * BLOCK
    return data[:start] + bytes(len(data[start : start + n])) + data[start + n :]


def _bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _another_behind(data: bytes, rng: random.Random) -> bytes:
    others = (data, sample("other", rng.randrange(3)) + END, rng.randbytes(700), b"\n", bytes(9999))
    return data + rng.choice(others)


def _one_of_refused(data: bytes, rng: random.Random) -> bytes:
    cases = refused()
    return cases[rng.choice(sorted(cases))]


def _another_label(data: bytes, rng: random.Random) -> bytes:
    cases = labels()
    extension, content = cases[rng.choice(sorted(cases))]
    return member("9.png", image()) + member(f"9.{extension}", content) + data


_WAYS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _byte_in_a_header, _byte_in_a_header, _another_size, _cut, _blocks_lost, _blocks_of_zeros,
    _bits, _another_behind, _one_of_refused, _another_label,
)  # fmt: skip
