"""A screen: an earlier run, whose decisions rank the classes of each image of this one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import StoreError, UserError, some
from zsd_ray.records.redaction import redact
from zsd_ray.records.scores import Candidates
from zsd_ray.results.output import Output
from zsd_ray.storage.store import Store

_COLUMNS = [
    "image_id",
    "prediction",
    "draws_per_class",
    "mean_scores",
    "n_evaluations",
    "n_screen_evaluations",
]


@dataclass(frozen=True)
class CandidateTable:
    """The candidate classes of N images, compact and shared by processes like the records.

    best: (N, top) int32, classes of the screen, best first; -1 where an image has fewer of them,
        and in a whole row if the screen has no decision on the image.
    group_of: (K,) int32, the screen's class of each class of the run; each has at least one.
    n_evaluations: (N,) int64, the screen's evaluations of the run's own model; None: of another.
    listed: (N,) bool, the images for which the screen has a row.
    screened: whether a screen chose them; else they are each image's captions.
    """

    best: NDArray[np.int32]
    group_of: NDArray[np.int32]
    n_evaluations: NDArray[np.int64] | None
    listed: NDArray[np.bool_]
    screened: bool = True

    def of(self, number: int) -> Candidates | None:
        """Return the candidates of an image; None for all classes."""
        groups = self.best[number]
        if groups[0] < 0:
            return None
        classes = np.flatnonzero(np.isin(self.group_of, groups)).astype(np.int32)
        cost = None if self.n_evaluations is None else int(self.n_evaluations[number])
        return Candidates(classes, cost, self.screened)

    def counts(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return the number of candidate classes of each of some images."""
        best = self.best[np.asarray(numbers, dtype=np.int64)]
        sizes = np.bincount(self.group_of)
        chosen = np.where(best >= 0, sizes[best], 0).sum(axis=1)
        return np.where(best[:, 0] < 0, len(self.group_of), chosen)


@dataclass(frozen=True)
class Screen:
    """An earlier run, and how its classes correspond to those of the run that it screens.

    identity: of its run; model: the part of the identity about the model.
    n_classes: its own; top: how many of them it keeps per image.
    group_of: (K,) int32, its class of each class of the run.
    evaluations_per_image: its cost; None for a run that is still to come.
    """

    output: Output
    identity: str
    model: Mapping[str, Any]
    n_classes: int
    top: int
    group_of: NDArray[np.int32]
    evaluations_per_image: float | None = None

    @property
    def identity_part(self) -> dict[str, Any]:
        """Return the values that the candidates depend on, which exclude the screen's path."""
        part = {"run": self.identity, "top": self.top}
        groups = len(self.group_of) != self.n_classes
        return part | ({"group_of": self.group_of.tolist()} if groups else {})

    def candidates(self, records: RecordTable, model: Mapping[str, Any]) -> CandidateTable:
        """Read its decisions part by part, since those of many classes do not fit into memory.

        The best are those eliminated last, then those of least mean score. An image that it could
        not classify has no candidates, so all classes stay.

        Args:
            model: the part of the screened run's identity; evaluations of another are not counted.

        Raises:
            UserError: they cannot be read.
        """
        best = np.full((len(records), self.top), -1, dtype=np.int32)
        n_evaluations = np.zeros(len(records), dtype=np.int64)
        listed = np.zeros(len(records), dtype=bool)
        try:
            for part in self.output.read_parts("decisions", _COLUMNS, self.n_classes):
                numbers = records.numbers_of(part["image_id"].to_pylist())
                listed[numbers[numbers >= 0]] = True
                ours = pc.and_(pc.is_valid(part["prediction"]), pa.array(numbers >= 0))
                numbers = numbers[ours.to_numpy()]
                part = part.filter(ours)
                best[numbers] = _best(part, self.n_classes, self.top)
                n_evaluations[numbers] = _evaluations(part)
        except StoreError as error:
            where = redact(self.output.path)
            raise UserError(
                f"the decisions of the screen {where} cannot be read: {error}"
            ) from error
        same = dict(model) == dict(self.model)
        return CandidateTable(best, self.group_of, n_evaluations if same else None, listed)


def open_screen(path: str, top: int, classes: Sequence[str], store: Store) -> Screen:
    """Open the run that `screen.run` names.

    Args:
        classes: of the run that it is to screen.

    Raises:
        UserError: there is none, it is not finished, or it has other classes.
    """
    output, what = Output(path, store), f"screen.run {redact(path)}"
    try:
        record = output.read_run()
    except UserError as error:
        raise UserError(f"screen.run: {error}") from error
    if record is None:
        raise UserError(f"{what} is no output of a run (no run.json); give its output.path")
    if record.status not in ("finished", "incomplete"):
        raise UserError(
            f"{what} is {record.status}, with {record.n_done} of {record.n_images} images "
            "classified; run it to its end first"
        )
    if record.config.get("pruning", {}).get("rule") == "vote":
        raise UserError(
            f"{what} decided by vote, which ranks no classes behind the first by their scores; "
            "screen by a run of another method"
        )
    if not 2 <= top < len(classes):
        what = "decides by the screen alone" if top < 2 else "leaves all classes in"
        raise UserError(
            f"screen.top {top} of a run {what}; it must be from 2 to {len(classes) - 1}"
        )
    return Screen(
        output,
        record.identity,
        record.part("model", output.shown("run.json")),
        len(record.classes),
        top,
        _same_classes(record.classes, classes, what),
        record.totals.get("evaluations_per_image"),
    )


def _same_classes(theirs: Sequence[str], ours: Sequence[str], what: str) -> NDArray[np.int32]:
    """Return the screen's number of each class of this run."""
    if list(theirs) == list(ours):
        return np.arange(len(ours), dtype=np.int32)
    missing, unknown = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
    if missing or unknown:
        lacks = [f"lacks {len(missing)} of this run's ({some(list(missing))})"] if missing else []
        has = [f"has {len(unknown)} others ({some(list(unknown))})"] if unknown else []
        raise UserError(
            f"{what} has {len(theirs)} classes, and this run {len(ours)}: it "
            f"{' and '.join(lacks + has)}; both need the same prompts.classes, in any order"
        )
    twice = [name for name, count in Counter(ours).items() if count > 1]
    if twice:
        raise UserError(
            f"{what} has the classes of this run in another order, and names {some(twice)} more "
            "than once; give both the same prompts.classes"
        )
    number = {name: k for k, name in enumerate(theirs)}
    return np.array([number[name] for name in ours], dtype=np.int32)


def _best(rows: pa.Table, n_classes: int, top: int) -> NDArray[np.int32]:
    """Return decided images' best classes, best first: (n, top), -1 for those without draws."""
    draws = _matrix(rows["draws_per_class"], n_classes)
    means = _matrix(rows["mean_scores"], n_classes)
    # An image with one class to begin with has a prediction without a draw.
    predicted = np.arange(n_classes) == rows["prediction"].to_numpy()[:, None]
    ranking = np.lexsort((means, -draws, ~predicted), axis=1)[:, :top]
    scored = np.take_along_axis((draws > 0) | predicted, ranking, axis=1)
    return np.where(scored, ranking, -1).astype(np.int32)


def _matrix(column: pa.ChunkedArray, n_classes: int) -> NDArray[Any]:
    """Return a column with one entry per class, as (n, K)."""
    flat: NDArray[Any] = pc.list_flatten(column).to_numpy()
    return flat.reshape(-1, n_classes)


def _evaluations(rows: pa.Table) -> NDArray[np.int64]:
    """Return the evaluations of decisions, including those of their own screens."""
    before = pc.fill_null(rows["n_screen_evaluations"], 0)
    taken: NDArray[np.int64] = pc.add(rows["n_evaluations"], before).to_numpy()
    return taken
