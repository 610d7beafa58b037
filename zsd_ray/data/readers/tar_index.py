"""An index of a tar of samples, from its headers, without reading images.

A sample is all files of one key: the path up to the first dot of its last part (Aizman et al.,
High Performance I/O For Large Scale Deep Learning, 2019, section V: the WebDataset format).
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from zsd_ray.data.labels.label_names import or_no_label
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.decoding import EXTENSIONS
from zsd_ray.data.readers.range_file import open_ranges
from zsd_ray.data.readers.tar_members import read_members
from zsd_ray.settings.documents import is_lfs_pointer, is_utf8, parse_json_object

_LARGEST_LABEL = 16 * 1024 * 1024  # bytes of a .cls or .json
_WHOLE_NUMBER = re.compile(rb"\s*[+-]?[0-9]{1,40}\s*")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class Place(NamedTuple):
    """extension: that of the file, whose bytes are `start` to before `end` of the tar."""

    extension: str
    start: int
    end: int


@dataclass
class Sample:
    """The files of one key.

    number: the number in its .cls.
    named: whether its .json has the requested key, with `value`.
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
    """Return the samples of one tar, in the order in which they begin.

    Args:
        label_key: of each .json; None: no labels are read, not even from .cls.

    Raises:
        ValueError: it is compressed, damaged, or has a sample without exactly one image.
        tarfile.TarError: it is not a tar.
        UserError: a .json is invalid.
    """
    shown = location.show(path)
    with open_ranges(location, path) as opened:
        size = opened.seek(0, io.SEEK_END)
        _check_start(opened)
        samples: dict[str, Sample] = {}
        for key, extension, member in _files(read_members(opened, size)):
            sample = samples.setdefault(key, Sample(key))
            if extension in EXTENSIONS:
                start = member.offset_data
                sample.images.append(Place(extension, start, start + member.size))
            elif label_key is not None and extension == "cls":
                sample.number = _number(_read(opened, member), member.name)
            elif label_key is not None and extension == "json":
                written = parse_json_object(_read(opened, member), f"{shown}: its {member.name}")
                sample.named = label_key in written
                sample.value = _label(written.get(label_key), member.name)
    for sample in samples.values():
        if len(sample.images) != 1:
            found = ", ".join(f".{image.extension}" for image in sample.images) or "none"
            raise ValueError(
                f"sample {sample.key} needs one image ({', '.join(EXTENSIONS)}), but has {found}"
            )
    return list(samples.values())


def _files(members: Iterable[tarfile.TarInfo]) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Return the key and extension of a file; hidden files and metadata of the whole tar are left
    out."""
    seen = set()
    for member in members:
        if "\0" in member.name or not is_utf8(member.name):
            raise ValueError(f"its member {member.name!a} has a name that is not UTF-8; rename it")
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


def _read(opened: IO[bytes], member: tarfile.TarInfo) -> bytes:
    if member.size > _LARGEST_LABEL:
        raise ValueError(f"its {member.name} has {member.size} bytes; a label has a few")
    opened.seek(member.offset_data)
    return opened.read(member.size)


def _number(data: bytes, name: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(data):
        came = data[:20].decode(errors="replace")
        raise ValueError(f"its {name} holds {came!r}; a .cls is one whole number")
    return int(data)


def _label(value: Any, name: str) -> int | str | None:
    if value is not None and not isinstance(value, int | str):
        raise ValueError(f"its {name} has a label {value!r}; labels are ints or strings")
    if isinstance(value, str) and not is_utf8(value):
        raise ValueError(f"its {name} has a label {value!a}, which is no text")
    return int(value) if isinstance(value, bool) else or_no_label(value)


def _check_start(opened: io.BufferedReader) -> None:
    opened.seek(0)
    start = opened.read(64)
    if is_lfs_pointer(start):
        raise ValueError("it is a git-LFS pointer, not the file itself; run `git lfs pull`")
    kinds: Sequence[str] = [kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)]
    if kinds:
        raise ValueError(
            f"it is compressed with {kinds[0]}, so no image can be read by its place; unpack it to "
            "a plain .tar (images are compressed already)"
        )
