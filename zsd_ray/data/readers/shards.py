"""The files of a sharded data set: one file, a folder, a pattern, or a range."""

from __future__ import annotations

import posixpath
import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_IN_A_RANGE = 100_000
_DEEPEST = 2  # plain_text/test/0000.parquet
# Words for splits, as they stand in names: data/test-00000-of-00001.parquet, test/0.tar.
_SPLITS = ("train", "test", "validation", "valid", "val", "extra", "unlabeled", "unsupervised")


class Shard(NamedTuple):
    """path: the full path; name: relative to the folder, or to that of the pattern."""

    path: str
    name: str


def find_shards(location: Location, suffixes: Sequence[str]) -> list[Shard]:
    """Return the files with these suffixes at a location, in order of their names.

    One file, its folder, a pattern in its folder, and a range such as part-{000..063}.tar give it
    the same name. Only a folder is searched for suffixes, with a warning if it holds several
    splits.

    Raises:
        UserError: there is no file or, in a folder, none with these suffixes.
    """
    kind = location.kind()
    if kind == "directory":
        found = _below(location, suffixes)
        if not found:
            raise UserError(
                f"data.path {location.shown} holds no {suffixes[0]} files; check the path"
            )
        _say_splits(location, found)
        return found
    if kind is not None:
        # A link's query is no part of the name, and may hold a signature.
        name = posixpath.basename(location.root.partition("?")[0])
        return [Shard(location.root, name)]
    paths, literal = _several(location)
    if not paths:
        raise UserError(f"data.path {location.shown} is no file, folder or pattern that matches")
    folder = literal[: literal.rfind("/") + 1]
    return [Shard(path, path[len(folder) :]) for path in paths]


def find_split(location: Location, suffixes: Sequence[str], words: Sequence[str]) -> list[Shard]:
    """Return those files of a folder whose names contain the split, or all if no name contains any.

    Args:
        words: names of the split; the first that occurs counts.

    Returns:
        Files up to two folders below: deeper ones are taken to be unrelated. One file, a pattern
            and a range are not filtered. None if there are none.
    """
    if location.kind() != "directory":
        named = location.root.lower().endswith(tuple(suffixes))
        return find_shards(location, suffixes) if named else []
    found = [shard for shard in _below(location, suffixes) if shard.name.count("/") <= _DEEPEST]
    said = [splits_in(shard.name) for shard in found]
    if not any(said):
        return found
    word = next((word for word in words if any(word in splits for splits in said)), None)
    return [shard for shard, splits in zip(found, said, strict=True) if word in splits]


def _say_splits(location: Location, found: Sequence[Shard]) -> None:
    """Warn if the names of a folder's files contain several splits."""
    said = sorted(set().union(*(splits_in(shard.name) for shard in found)))
    if len(said) > 1:
        warnings.warn(
            f"data.path {location.shown} holds files of {', '.join(said)} by their names, and all "
            f"{len(found)} are read; write data.path as a pattern of those that are meant",
            stacklevel=3,
        )


def _below(location: Location, suffixes: Sequence[str]) -> list[Shard]:
    names = (name for name in location.files() if name.lower().endswith(tuple(suffixes)))
    # Spark's folder of what it had not finished: the same rows again, or some of them.
    finished = (name for name in names if "_temporary" not in name.split("/"))
    return [Shard(location.join(name), name) for name in finished]


def _several(location: Location) -> tuple[list[str], str]:
    """Return the files that a pattern or a range names, and the text before its first special
    character."""
    found = _RANGE.search(location.root)
    if found:
        return sorted(_expanded(location.root)), location.root[: found.start()]
    pattern = re.search(r"[*?\[]", location.root)
    if pattern:
        return location.glob(), location.root[: pattern.start()]
    return [], ""


def _expanded(text: str) -> Iterator[str]:
    """Return every text that the ranges {first..last} stand for, as a shell expands them."""
    parts = _RANGE.split(text)
    literals, firsts, lasts = parts[::3], parts[1::3], parts[2::3]
    ranges = [range(int(a), int(b) + 1) for a, b in zip(firsts, lasts, strict=True)]
    n = 1
    for each in ranges:
        n *= len(each)
    if not 1 <= n <= _MOST_IN_A_RANGE:
        raise UserError(
            f"data.path names {n} files by its ranges; it takes 1 to {_MOST_IN_A_RANGE}, each "
            "range from the smaller number to the larger"
        )
    for numbers in product(*ranges):
        written = [str(n).zfill(len(first)) for n, first in zip(numbers, firsts, strict=True)]
        yield "".join(
            literal + number for literal, number in zip(literals, [*written, ""], strict=True)
        )


def splits_in(name: str) -> set[str]:
    """Return the words for splits in a name."""
    return set(re.split(r"[/._-]", name.lower())) & set(_SPLITS)
