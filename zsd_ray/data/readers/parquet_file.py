"""Opening an untrusted Parquet file."""

from __future__ import annotations

import io
from typing import IO

import pyarrow.parquet as pq

from zsd_ray.settings.documents import is_lfs_pointer

# Rows that are believed of any file: nulls and repeated values take no bytes.
_FEW = 1_000_000


def open_file(opened: IO[bytes]) -> pq.ParquetFile:
    """Open a Parquet file, and check that its numbers of rows are possible for its size.

    Raises:
        ValueError: they are not, or it is a pointer of git-LFS.
        ArrowException: it is not Parquet, or damaged.
    """
    size = opened.seek(0, io.SEEK_END)
    opened.seek(0)
    if is_lfs_pointer(opened.read(64)):
        raise ValueError("it is a git-LFS pointer, not the file itself; run `git lfs pull`")
    opened.seek(0)
    file = pq.ParquetFile(opened)
    n_rows = file.metadata.num_rows
    of_groups = rows_of_groups(file)
    if n_rows != sum(of_groups) or min(of_groups, default=0) < 0 or n_rows > max(size, _FEW):
        raise ValueError(f"its {size} bytes cannot hold the {n_rows} rows that it claims")
    return file


def rows_of_groups(file: pq.ParquetFile) -> list[int]:
    """Return the number of rows of each row group."""
    return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
