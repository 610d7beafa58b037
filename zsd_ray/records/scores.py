"""The values that packages exchange: images, micro-batches, scores, decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.draw_table import Draws


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a data set, before it is read.

    `image_id` is unique in the data set and the same on every machine: draws are addressed by it.
    `source` says where the image lies, for people. `label` indexes the data's own classes. `group`
    names a subset of the images whose accuracy is reported separately.
    """

    image_id: str
    source: str
    label: int | None
    group: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The classes in one image's race: those that a screen keeps, or its own captions.

    classes: (C,) int32, ascending.
    n_evaluations: the screen's evaluations of the run's own model; None: of another model.
    screened: whether a screen chose them.
    """

    classes: NDArray[np.int32]
    n_evaluations: int | None = None
    screened: bool = True


@dataclass(frozen=True, slots=True)
class WorkItem:
    """Draws first_draw .. first_draw + n_draws - 1 of one image, for each of `classes`.

    `image` is the image's number in the run; `classes` are class numbers, ascending.
    """

    image: int
    first_draw: int
    n_draws: int
    classes: tuple[int, ...]

    @property
    def n_scores(self) -> int:
        return self.n_draws * len(self.classes)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The work items that one worker scores in one request."""

    id: int
    items: tuple[WorkItem, ...]

    @property
    def n_scores(self) -> int:
        return sum(item.n_scores for item in self.items)


@dataclass(frozen=True, slots=True, eq=False)
class ItemScores:
    """The answer to one WorkItem; n draws and k classes as in the item.

    errors: (n, k) float32, eps-error before weighting: mean over elements, mean over templates;
        for other methods, their own score.
    draws: the n draws. A baseline's score stands as the error of one draw of weight 1.
    n_evaluations: their evaluations, where that number is only known afterwards.
    """

    errors: NDArray[np.float32]
    draws: Draws
    n_evaluations: int | None = None


@dataclass(frozen=True, slots=True)
class ImageFailure:
    """The answer to a WorkItem whose image cannot be scored, with the reason.

    unreadable: the store did not answer, so nothing is known of the image itself.
    """

    message: str
    unreadable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatchScores:
    """The answer to one micro-batch, in two arrays: many small arrays are slow to send.

    errors: float32, of all items one after the other, row by row; draws: (N, 4), the tables of
        their `Draws` in the same order.
    failures: by position, the items that have no scores instead.
    n_evaluations: of items with scores, by position, where it was counted.
    n_rows: network rows, with those that pad the last batch; seconds: the worker's time.
    """

    id: int
    errors: NDArray[np.float32]
    draws: NDArray[np.float64]
    failures: Mapping[int, ImageFailure]
    n_rows: int
    seconds: float
    n_evaluations: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def pack(
        cls, id_: int, answers: Sequence[ItemScores | ImageFailure], n_rows: int, seconds: float
    ) -> MicroBatchScores:
        """Join the answers to a micro-batch's items, in order."""
        scores = [answer for answer in answers if isinstance(answer, ItemScores)]
        return cls(
            id=id_,
            errors=np.concatenate([s.errors.ravel() for s in scores] or [np.zeros(0, np.float32)]),
            draws=np.concatenate([s.draws.table for s in scores] or [np.zeros((0, 4))]),
            failures={i: a for i, a in enumerate(answers) if isinstance(a, ImageFailure)},
            n_rows=n_rows,
            seconds=seconds,
            n_evaluations={
                i: a.n_evaluations
                for i, a in enumerate(answers)
                if isinstance(a, ItemScores) and a.n_evaluations is not None
            },
        )

    def unpack(self, items: Sequence[WorkItem]) -> Iterator[ItemScores | ImageFailure]:
        """Return the answer to each item of the micro-batch, as views of the arrays."""
        cell = draw = 0
        for position, item in enumerate(items):
            if position in self.failures:
                yield self.failures[position]
                continue
            errors = self.errors[cell : cell + item.n_scores]
            draws = self.draws[draw : draw + item.n_draws]
            cell, draw = cell + item.n_scores, draw + item.n_draws
            counted = self.n_evaluations.get(position)
            yield ItemScores(errors.reshape(item.n_draws, -1), Draws(draws), counted)


@dataclass(frozen=True, slots=True, eq=False)
class ImageState:
    """The state of an undecided image, as a checkpoint keeps it: K classes, S of them left.

    n_draws: draws that the rule has seen; N, the draws with any known error, may be more.
    survivors: (S,) int32.
    draws: (K,) int32, draws of each class that the rule has seen.
    errors: (N, S) float32, NaN where not known.
    drawn: the N draws.
    removed: float32, the errors of each class that is out of the race, one after the other.
    n_spent: evaluations sent to workers; seconds: the workers' time on them.
    n_counted: evaluations that workers counted themselves.
    """

    image_id: str
    n_draws: int
    survivors: NDArray[np.int32]
    draws: NDArray[np.int32]
    errors: NDArray[np.float32]
    drawn: Draws
    removed: NDArray[np.float32]
    n_spent: int
    seconds: float
    n_counted: int = 0


@dataclass(frozen=True, slots=True)
class RawDraw:
    """One draw of one image, as the rule saw it: a row of OUTPUT/scores."""

    draw: int
    t: float
    alpha: float
    sigma: float
    weight: float
    classes: tuple[int, ...]
    eps_error: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one image: a row of OUTPUT/decisions (docs/reference/outputs.md)."""

    image_id: str
    source: str
    label: int | None
    prediction: int | None
    top5: tuple[int, ...] = ()
    mean_scores: tuple[float, ...] = ()
    gaps: tuple[float, ...] = ()
    gap_errors: tuple[float, ...] = ()
    draws_per_class: tuple[int, ...] = ()
    n_draws: int = 0
    n_candidates: int | None = None
    n_screen_evaluations: int | None = None
    n_evaluations: int = 0
    n_spent: int = 0
    stop_reason: str = ""
    error: str | None = None
    worker: str = ""
    seconds: float = 0.0
    raw: tuple[RawDraw, ...] = field(default=(), repr=False)
    traced: bool = False  # the report may draw this image's elimination
    group: str | None = None
    uncorrected: int | None = None

    @property
    def correct(self) -> bool | None:
        """Return whether the prediction is the label; None without a label or after an error."""
        if self.label is None or self.prediction is None:
            return None
        return self.prediction == self.label
