"""A file that is read by byte ranges behaves as an open file does."""

from __future__ import annotations

import io
import random

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.data.location import Location
from zsd_ray.data.readers.range_file import open_ranges

CONTENT = random.Random(0).randbytes(300_000)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(-len(CONTENT), 2 * len(CONTENT)), st.integers(0, 100_000)
    ),
    max_size=6,
)


@given(STEPS)
def test_it_reads_and_seeks_as_a_file(steps: list[tuple[int, int, int]]) -> None:
    fsspec.filesystem("memory").pipe("/ranges/file", CONTENT)
    with open_ranges(Location("memory://ranges"), "/ranges/file") as ours:
        theirs = io.BytesIO(CONTENT)
        for whence, offset, n_bytes in steps:
            base = (0, theirs.tell(), len(CONTENT))[whence]
            if base + offset < 0:
                continue
            assert ours.seek(offset, whence) == theirs.seek(offset, whence)
            assert ours.read(n_bytes) == theirs.read(n_bytes)
            assert ours.tell() == theirs.tell()


def test_a_missing_file(memory: str) -> None:
    with pytest.raises(FileNotFoundError, match="no file at memory:///bucket/data/none"):
        open_ranges(Location(memory), "/bucket/data/none")
