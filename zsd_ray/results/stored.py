"""The rows of earlier sessions in an output: which count, and which must be repaired first.

Reading changes nothing, so a plan may read. `Repairs.make` does the rest: it sets damaged
files aside, gives rows the labels that the data has now, and moves the rows of images that the
data no longer has to OUTPUT/removed, from where they come back with their images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsd_ray.records.errors import DamagedFile
from zsd_ray.results.output import GIVEN_UP, Output
from zsd_ray.results.rows.checkpoint import Checkpoint
from zsd_ray.results.rows.schema import DECISIONS

_COLUMNS = ["image_id", "label", "prediction", "correct", "stop_reason"]
_FOLDERS = ("decisions", "scores", "traces")


class Listed(Protocol):
    """The images that the data has now, by number, and their labels as class numbers."""

    def __len__(self) -> int: ...

    def numbers_of(self, ids: list[str]) -> NDArray[np.int64]:
        """Return the number of each image by its id, -1 if there is none."""

    def labels_of(self, numbers: NDArray[np.int64]) -> pa.Array:
        """Return labels by number, int32, null if an image has none."""


@dataclass(frozen=True)
class Damage:
    """A damaged file. beside: other files of the same part; again: the work that is repeated."""

    name: str
    why: str
    beside: tuple[str, ...]
    again: str


@dataclass(frozen=True)
class Repairs:
    """The repairs that an output needs before a session of its run.

    stale: parts with rows whose labels, or images, are not those of the data.
    orphans: raw draws without decisions, whose writer was killed or is writing now.
    n_relabelled: such labels; n_gone: images that the data no longer has; n_back: those that it has
        again.
    """

    damage: tuple[Damage, ...] = ()
    stale: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    n_relabelled: int = 0
    n_gone: int = 0
    n_back: int = 0

    def __bool__(self) -> bool:
        return bool(self.damage or self.stale)

    def make(self, output: Output, listed: Listed) -> Iterator[str]:
        """Make the repairs; yields one line about each."""
        for damage in self.damage:
            name = output.set_aside(damage.name, "damaged")
            for other in damage.beside:
                output.set_aside(other, "set-aside")
            if name is not None:
                yield (
                    f"{output.shown(damage.name)} is damaged ({damage.why}); it is now "
                    f"{name.rpartition('/')[2]}, and {damage.again}"
                )
        for part in self.stale:
            _rewrite(output, part, listed)
        where = output.shown("decisions")
        if self.n_relabelled:
            yield (
                f"the data has other labels for {_images(self.n_relabelled)} in {where}; label and "
                "correct of their rows were corrected, and the predictions stay"
            )
        if self.n_gone:
            yield (
                f"the data no longer has {_images(self.n_gone)} in {where}; their rows do not "
                "count any more, and are in removed/"
            )
        if self.n_back:
            yield f"the data has {_images(self.n_back)} again; their rows in removed/ count again"

    def remove_orphans(self, output: Output) -> None:
        """Remove raw draws whose decisions were not written during a whole session either."""
        whole = set(output.part_names("decisions"))
        for name in self.orphans:
            if name.rpartition("/")[2] not in whole:
                output.remove(name)


@dataclass(frozen=True, eq=False)
class Stored:
    """The images that are done once the repairs are made.

    done: numbers of decided images; again: ids of images with a row that are decided again.
    """

    done: NDArray[np.int64]
    again: frozenset[str]
    repairs: Repairs


def look(
    output: Output,
    listed: Listed,
    identity: str,
    n_classes: int,
    raw_scores: bool,
    traced: Callable[[], frozenset[str]],
) -> Stored:
    """Read all parts and checkpoints of an output, one at a time.

    Args:
        identity, n_classes: of the run.
        raw_scores: whether it keeps raw draws; an image whose draws are damaged is decided again.
        traced: returns the ids of images whose draws the report shows; the same holds for them.

    Raises:
        StoreError: its store does not answer.
    """
    found = _Look(output, listed, n_classes)
    for part in output.part_names("decisions"):
        found.rows(part, raw_scores, traced)
    for part in output.part_names("removed"):
        found.removed(part)
    for part in output.part_names("checkpoints"):
        name = f"checkpoints/{part}"
        try:
            content = output.read_checkpoint(part)
            Checkpoint.read(content, output.shown(name), identity, n_classes)
        except DamagedFile as error:
            again = "its images are scored from the start"
            found.damage.append(Damage(name, error.why, (), again))
        except FileNotFoundError:
            continue  # its scheduler has just ended
    return found.sum_up()


class _Look:
    """Collects the rows of all parts as they are read."""

    def __init__(self, output: Output, listed: Listed, n_classes: int) -> None:
        self.damage: list[Damage] = []
        self._output = output
        self._listed = listed
        self._n_classes = n_classes
        self._parts = {folder: set(output.part_names(folder)) for folder in _FOLDERS}
        self._decided = np.zeros(len(listed), dtype=bool)
        self._given_up = np.zeros(len(listed), dtype=bool)
        self._relabelled = np.zeros(len(listed), dtype=bool)
        self._again: dict[int, str] = {}
        self._names: dict[int, str] = {}  # of those that were given up
        self._gone: set[str] = set()
        self._back: set[str] = set()
        self._stale: set[str] = set()

    def rows(self, part: str, raw_scores: bool, traced: Callable[[], frozenset[str]]) -> None:
        """Take one part of decisions, unless it or its raw draws are damaged."""
        beside = [f"{folder}/{part}" for folder in _FOLDERS if part in self._parts[folder]]
        table, why = self._read("decisions", part)
        if table is None:
            if why:
                self._add_damage(f"decisions/{part}", why, beside, "its images are decided again")
            return
        if f"scores/{part}" in beside and (why := self._read("scores", part)[1]):
            if raw_scores:
                self._add_damage(f"scores/{part}", why, beside, "its images are decided again")
                return
            self._add_damage(f"scores/{part}", why, [], "output.raw_scores asks for no other")
        if f"traces/{part}" in beside and (why := self._read("traces", part)[1]):
            again = "the images whose draws it held are decided again"
            self._add_damage(f"traces/{part}", why, [], again)
            wanted = traced()
            ids = [name for name in table["image_id"].to_pylist() if name in wanted]
            for name, number in zip(ids, self._listed.numbers_of(ids).tolist(), strict=True):
                self._again[number] = name
        self._count(part, table)

    def removed(self, part: str) -> None:
        """Take one part of rows whose images were not in the data."""
        table, why = self._read("removed", part)
        if table is None:
            if why:
                again = "its images are decided if they come back"
                self._add_damage(f"removed/{part}", why, [], again)
            return
        back = self._listed.numbers_of(table["image_id"].to_pylist()) >= 0
        if back.any():
            table = table.filter(pa.array(back))
            self._back |= set(table["image_id"].to_pylist())
            self._stale.add(part)
            self._count(part, table)

    def sum_up(self) -> Stored:
        again = {i: name for i, name in self._names.items() if not self._decided[i]} | self._again
        again.pop(-1, None)
        self._decided[list(again)] = False
        repairs = Repairs(
            damage=tuple(self.damage),
            stale=tuple(sorted(self._stale)),
            orphans=tuple(
                f"{folder}/{part}"
                for folder in ("scores", "traces")
                for part in sorted(self._parts[folder] - self._parts["decisions"])
            ),
            n_relabelled=int(self._relabelled.sum()),
            n_gone=len(self._gone),
            n_back=len(self._back),
        )
        return Stored(np.flatnonzero(self._decided), frozenset(again.values()), repairs)

    def _count(self, part: str, table: pa.Table) -> None:
        ids = table["image_id"].to_pylist()
        numbers = self._listed.numbers_of(ids)
        gone = numbers < 0
        if gone.any():
            self._gone |= {ids[i] for i in np.flatnonzero(gone).tolist()}
            self._stale.add(part)
            table, numbers = table.filter(pa.array(~gone)), numbers[~gone]
        now = _corrected(table, self._listed.labels_of(numbers))
        changed = _differ(table, now, "label")
        self._relabelled[numbers[changed]] = True
        if changed.any() or _differ(table, now, "correct").any():
            self._stale.add(part)
        given_up = pc.is_in(table["stop_reason"], pa.array(GIVEN_UP)).to_numpy()
        self._decided[numbers[~given_up]] = True
        names = table["image_id"].filter(pa.array(given_up)).to_pylist()
        self._names |= dict(zip(numbers[given_up].tolist(), names, strict=True))

    def _read(self, folder: str, part: str) -> tuple[pa.Table | None, str]:
        """Read a part whole, and return the columns needed here, or a reason why it is damaged;
        an empty result if it is gone, since another driver has just set it aside."""
        try:
            table = self._output.read_part(folder, part, n_classes=self._n_classes)
        except DamagedFile as error:
            return None, error.why
        except FileNotFoundError:
            return None, ""
        return (table.select(_COLUMNS) if folder in ("decisions", "removed") else table), ""

    def _add_damage(self, name: str, why: str, beside: list[str], again: str) -> None:
        self.damage.append(Damage(name, why, tuple(n for n in beside if n != name), again))


def _corrected(rows: pa.Table, labels: pa.Array) -> pa.Table:
    """Return rows with corrected labels and the columns that depend on them."""
    columns = {
        "label": labels,
        # Null if either is: no label, or no prediction.
        "correct": pc.equal(rows["prediction"], labels),
    }
    for name, column in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, DECISIONS.field(name), column)
    return rows


def _differ(rows: pa.Table, now: pa.Table, name: str) -> NDArray[np.bool_]:
    """Return where a column differs between two tables; null equals null."""
    old, new = rows[name], now[name]
    both = pc.fill_null(pc.equal(old, new), False)
    neither = pc.and_(pc.is_null(old), pc.is_null(new))
    differ: NDArray[np.bool_] = pc.invert(pc.or_(both, neither)).to_numpy()
    return differ


def _rewrite(output: Output, part: str, listed: Listed) -> None:
    """Move each row of one part to its place. If killed in between, rows exist twice, and none is
    lost; of two rows of an image one counts."""
    rows, before = (_stored(output, folder, part) for folder in ("decisions", "removed"))
    both = pa.concat_tables([rows, before])
    numbers = listed.numbers_of(both["image_id"].to_pylist())
    there = numbers >= 0
    gone = both.filter(pa.array(~there))
    if len(gone):
        output.write_part("removed", part, pa.concat_tables([before, gone]))
    kept = _corrected(both.filter(pa.array(there)), listed.labels_of(numbers[there]))
    output.write_part("decisions", part, kept)
    if len(gone):
        output.write_part("removed", part, gone)
    elif len(before):
        output.remove(f"removed/{part}")


def _stored(output: Output, folder: str, part: str) -> pa.Table:
    try:
        return output.read_part(folder, part)
    except FileNotFoundError:
        return DECISIONS.empty_table()


def _images(n: int) -> str:
    return f"{n:,} image{'' if n == 1 else 's'}"
