"""What a tar of samples holds and where, found by reading its headers and no images.

A sample is all files of one key: the path up to the first dot of its last part (Aizman et al.,
High Performance I/O For Large Scale Deep Learning, 2019, section V: the WebDataset format).
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zsd_ray.data.location import Location
from zsd_ray.data.range_file import open_ranges

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "ppm", "tif", "tiff")
_BLOCK = 512  # of a tar
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class Place(NamedTuple):
    """extension: of its file; its bytes are `start` to before `end` of the tar."""

    extension: str
    start: int
    end: int


@dataclass
class Sample:
    """One key's files.

    number: what its .cls says.
    named: whether its .json has the key that was asked for, with `value`.
    """

    key: str
    images: list[Place] = field(default_factory=list)
    number: int | None = None
    named: bool = False
    value: int | str | None = None

    @property
    def image(self) -> Place:
        return self.images[0]


def index_tar(location: Location, path: str, label_key: str | None) -> list[Sample]:
    """The samples of one tar, in the order in which they begin.

    Args:
        label_key: of each .json; None: no labels are read, of .cls neither.

    Raises:
        ValueError: it is compressed, damaged, or holds a sample without one image.
        tarfile.TarError: it is no tar.
    """
    with open_ranges(location, path) as opened:
        _check_start(opened)
        samples: dict[str, Sample] = {}
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            for key, extension, member in _files(tar):
                sample = samples.setdefault(key, Sample(key))
                if extension in EXTENSIONS:
                    start = member.offset_data
                    sample.images.append(Place(extension, start, start + member.size))
                elif label_key is not None and extension == "cls":
                    sample.number = _number(_read(tar, member), member.name)
                elif label_key is not None and extension == "json":
                    written = _object(_read(tar, member), member.name)
                    sample.named = label_key in written
                    sample.value = _label(written.get(label_key), member.name)
            end = tar.offset
        _check_end(opened, end)
    for sample in samples.values():
        if len(sample.images) != 1:
            found = ", ".join(f".{image.extension}" for image in sample.images) or "none"
            raise ValueError(
                f"sample {sample.key} needs one image ({', '.join(EXTENSIONS)}), but has {found}"
            )
    return list(samples.values())


def _files(tar: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """The key and extension of each file; hidden files and notes on the whole tar are left out."""
    seen = set()
    for member in tar:
        name = posixpath.normpath(member.name).lstrip("/")
        folder, base = posixpath.split(name)
        stem, dot, extension = base.partition(".")
        if member.isdir() or not stem or (stem.startswith("__") and stem.endswith("__")):
            continue
        if not dot:
            raise ValueError(f"its file {name} has no extension, so it is no part of a sample")
        if not member.isreg() or member.issparse():
            raise ValueError(f"its member {name} is a link or a special file; pack plain files")
        if name in seen:
            raise ValueError(f"it holds {name} twice; give each sample a key of its own")
        seen.add(name)
        yield posixpath.join(folder, stem), extension.lower(), member


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = tar.extractfile(member)
    assert opened is not None  # it is a plain file
    return opened.read()


def _number(data: bytes, name: str) -> int:
    try:
        return int(data)
    except ValueError:
        came = data[:20].decode(errors="replace")
        raise ValueError(f"its {name} holds {came!r}; a .cls is one whole number") from None


def _label(value: Any, name: str) -> int | str | None:
    if value is not None and not isinstance(value, int | str):
        raise ValueError(f"its {name} has a label {value!r}; labels are ints or strings")
    return int(value) if isinstance(value, bool) else value


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ValueError(f"its {name} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"its {name} holds no JSON object")
    return value


def _check_start(opened: io.BufferedReader) -> None:
    start = opened.read(8)
    opened.seek(0)
    kinds: Sequence[str] = [kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)]
    if kinds:
        raise ValueError(
            f"it is compressed with {kinds[0]}, so no image can be read by its place; unpack it to "
            "a plain .tar (images are compressed already)"
        )


def _check_end(opened: io.BufferedReader, end: int) -> None:
    """tarfile takes a damaged header in the middle for the end, and would lose what follows."""
    opened.seek(end)
    block = opened.read(_BLOCK)
    if len(block) < _BLOCK or any(block):
        what = "has been cut" if len(block) < _BLOCK else "is damaged"
        raise ValueError(
            f"it {what}: at byte {end} a header or the tar's end is due; copy or pack it again"
        )
