"""The parts of an output, one Parquet file each: written with checksums, and checked when read.

Every reader opens parts here. A file that is no Parquet, that lacks what a part must have, whose
checksums do not fit or whose numbers cannot be those of a run is a `DamagedFile`, which names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsd_ray.records.errors import DamagedFile
from zsd_ray.results.rows.schema import DECISIONS, SCORES
from zsd_ray.settings.documents import is_lfs_pointer

SCHEMAS = {"decisions": DECISIONS, "scores": SCORES, "traces": SCORES, "removed": DECISIONS}
"""By the folder that the part lies in."""

ADVICE = "the command that made this output sets it aside and decides its images again"

_NEEDED = {
    # What every version wrote; other columns came later, and are null in older parts.
    "decisions": ("image_id", "label", "prediction", "correct", "stop_reason", "error"),
    "scores": tuple(SCORES.names),
}
_NEEDED |= {"traces": _NEEDED["scores"], "removed": _NEEDED["decisions"]}
_COUNTS = ("n_draws", "n_candidates", "n_screen_evaluations", "n_evaluations", "n_spent")
_PER_CLASS = ("mean_scores", "gaps", "gap_errors", "draws_per_class")


_LARGEST = float(np.finfo(np.float32).max)


def to_bytes(table: pa.Table) -> bytes:
    """Return the content of a part."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def read(
    content: bytes, folder: str, columns: Sequence[str], shown: str, n_classes: int | None = None
) -> pa.Table:
    """Read columns of a part; a column that an earlier version did not write is null.

    Args:
        folder: what it is a part of, a key of SCHEMAS.
        shown: its path or URL in messages.
        n_classes: of the run, if known; class numbers and lists are checked against it.

    Raises:
        DamagedFile: it is no part, or holds values that no run writes.
    """
    try:
        if is_lfs_pointer(content):
            raise ValueError("a git-LFS pointer, not the file itself; run `git lfs pull`")
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = _select(file, folder, columns)
        table.validate(full=True)
        _check(table, folder, n_classes)
    except Exception as error:  # pyarrow has many; the content is in memory, so it is the content
        raise DamagedFile.of(error, shown, ADVICE) from error
    return table


def _select(file: pq.ParquetFile, folder: str, columns: Sequence[str]) -> pa.Table:
    schema = pa.schema([SCHEMAS[folder].field(name) for name in columns])
    there = file.schema_arrow.names
    lacking = [name for name in _NEEDED[folder] if name not in there]
    if lacking:
        raise ValueError(f"it has no column {lacking[0]}")
    table = file.read(columns=[name for name in schema.names if name in there])
    for name in ("n_evaluations", "n_spent"):
        if name in table.column_names and table[name].null_count:
            raise ValueError(f"{name} is missing in a row")
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _check(table: pa.Table, folder: str, n_classes: int | None) -> None:
    """Raise ValueError if a number cannot be one of a run."""
    most = None if n_classes is None else n_classes - 1

    def each(name: str, check: Callable[[str, pa.ChunkedArray], None]) -> None:
        if name in table.column_names:
            check(name, table[name])

    def present(name: str, column: pa.ChunkedArray) -> None:
        if column.null_count:
            raise ValueError(f"{name} is missing in a row")

    def classes(name: str, column: pa.ChunkedArray) -> None:
        _in_range(name, column, 0, most)

    def lists_of_classes(name: str, column: pa.ChunkedArray) -> None:
        _in_range(name, pc.list_flatten(column), 0, most)

    each("image_id", present)
    if folder in ("scores", "traces"):
        for name in ("draw", "t", "alpha", "sigma", "weight", "classes", "eps_error"):
            each(name, present)
        for name in ("t", "alpha", "sigma", "weight"):
            each(name, _finite)
        each("t", lambda name, column: _in_range(name, column, 0, 1))
        each("weight", lambda name, column: _in_range(name, column, 0, None))
        each("eps_error", lambda name, column: _finite(name, pc.list_flatten(column)))
        each("draw", lambda name, column: _in_range(name, column, 0, None))
        each("classes", lists_of_classes)
        each("classes", _ascending)
        if {"classes", "eps_error"} <= set(table.column_names):
            lengths = [pc.list_value_length(table[name]) for name in ("classes", "eps_error")]
            if not pc.all(pc.equal(*lengths)).as_py() and len(table):
                raise ValueError("eps_error has not one value for each of classes")
        return
    for name in ("label", "prediction"):
        each(name, classes)
    each("top5", lists_of_classes)
    for name in _COUNTS:
        each(name, lambda name, column: _in_range(name, column, 0, None))
    each("draws_per_class", lambda name, column: _in_range(name, pc.list_flatten(column), 0, None))
    for name in _PER_CLASS:
        each(name, lambda name, column: _check_length(name, column, n_classes))
    for name in ("mean_scores", "gaps", "gap_errors"):
        each(name, lambda name, column: _nowhere_infinite(name, pc.list_flatten(column)))
    each("mean_scores", lambda name, column: _in_float32(name, pc.list_flatten(column)))
    if {"prediction", "gaps", "draws_per_class"} <= set(table.column_names):
        _check_own_gap(table)
    if {"label", "prediction", "correct"} <= set(table.column_names):
        _check_correct(table)
    if {"prediction", "error"} <= set(table.column_names):
        decided, failed = pc.is_valid(table["prediction"]), pc.is_valid(table["error"])
        if pc.any(pc.equal(decided, failed)).as_py():
            raise ValueError("a row has neither a prediction nor an error, or both")
    if {"prediction", "mean_scores"} <= set(table.column_names):
        decided = table.filter(pc.is_valid(table["prediction"]))
        if pc.any(pc.equal(pc.list_value_length(decided["mean_scores"]), 0)).as_py():
            raise ValueError("a prediction has no mean_scores")


def _in_range(name: str, column: pa.ChunkedArray | pa.Array, least: int, most: int | None) -> None:
    found = pc.min_max(column)
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is not None and (low < least or (most is not None and high > most)):
        odd = low if low < least else high
        raise ValueError(f"{name} holds {odd}, where {least} to {'any' if most is None else most}")


def _finite(name: str, column: pa.ChunkedArray) -> None:
    if not pc.all(pc.is_finite(column)).as_py() and len(column):
        raise ValueError(f"{name} holds a number that is not finite")


def _nowhere_infinite(name: str, column: pa.ChunkedArray) -> None:
    """Raise ValueError for an infinite number; NaN stands for a class without draws."""
    if pc.any(pc.is_inf(column)).as_py():
        raise ValueError(f"{name} holds a number that is infinite")


def _in_float32(name: str, column: pa.ChunkedArray) -> None:
    """Raise ValueError for a number that is far too large for a mean of float32 scores."""
    least, most = pc.min_max(column.filter(pc.is_finite(column))).values()
    if least.is_valid and max(-least.as_py(), most.as_py()) > _LARGEST:
        raise ValueError(f"{name} holds a number beyond {_LARGEST:.2g}")


def _ascending(name: str, column: pa.ChunkedArray) -> None:
    """Raise ValueError if a draw's classes are none, repeated or out of order."""
    lists = column.combine_chunks()
    if not pc.all(pc.greater(pc.list_value_length(lists), 0)).as_py() and len(lists):
        raise ValueError(f"{name} is empty in a row")
    rises = np.diff(lists.flatten().to_numpy()) > 0
    ends = np.cumsum(pc.list_value_length(lists).to_numpy())[:-1]
    rises[ends - 1] = True  # from the last of one row to the first of the next
    if not rises.all():
        raise ValueError(f"{name} are not in ascending order in a row, each once")


def _check_own_gap(table: pa.Table) -> None:
    """Raise ValueError if a prediction with draws has a gap to itself that is not 0 (rounded)."""
    known = [pc.is_valid(table[name]) for name in ("prediction", "gaps", "draws_per_class")]
    some = table.filter(pc.and_(pc.and_(known[0], known[1]), known[2]))
    own = some["prediction"].to_numpy()
    gaps, draws = (some[name].combine_chunks() for name in ("gaps", "draws_per_class"))
    lengths = [pc.list_value_length(lists).to_numpy() for lists in (gaps, draws)]
    there = np.minimum(*lengths) > own  # some rows have no gaps at all
    gap, n = (
        lists.flatten().to_numpy()[(np.cumsum(length) - length + own)[there]]
        for lists, length in zip((gaps, draws), lengths, strict=True)
    )
    if ((n > 0) & ~np.isfinite(gap)).any():
        raise ValueError("gaps are not finite for a prediction whose class had draws")


def _check_correct(table: pa.Table) -> None:
    """Raise ValueError if `correct`, which all figures use, contradicts label and prediction."""
    right = pc.equal(table["prediction"], table["label"])
    same = pc.equal(pc.is_valid(right), pc.is_valid(table["correct"]))
    differ = pc.any(pc.not_equal(right, table["correct"])).as_py()
    if differ or not (pc.all(same).as_py() or not len(table)):
        raise ValueError("correct does not say whether the prediction is the label")


def _check_length(name: str, column: pa.ChunkedArray, n_classes: int | None) -> None:
    lengths = pc.unique(pc.list_value_length(column).drop_null()).to_pylist()
    odd = [length for length in lengths if length and length != n_classes]
    if odd and n_classes is not None:
        raise ValueError(f"{name} has {odd[0]} values for {n_classes} classes")
