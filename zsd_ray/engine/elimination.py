"""The successive elimination of one image's classes, fed with scores in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from zsd_ray.spec.records import ImageState, ItemScores, RawDraw, WorkItem
from zsd_ray.stats.rules import Rule

_WEIGHT = 3  # column of the table of draws: t, alpha, sigma, weight


@dataclass(frozen=True)
class Outcome:
    """The end of one image; every list is in class order."""

    ranking: tuple[int, ...]
    mean_scores: tuple[float, ...]
    draws_per_class: tuple[int, ...]
    n_draws: int
    stop_reason: str
    raw: tuple[RawDraw, ...]

    @property
    def n_scores(self) -> int:
        return sum(self.draws_per_class)


class Elimination:
    """Holds the errors of the surviving classes and applies the rule whenever draws are complete.

    Scores may come late, twice, split by class or ahead of the next look; the rule sees complete
    draws only, in order, so the outcome does not depend on how the work was cut.

    Args:
        state: what a checkpoint kept of this image, to go on from.

    Attributes:
        survivors: (S,) int32, class numbers still in the race, ascending; classes: the same.
        n_draws: draws that the rule has seen.
        target: draws after which it looks next.
        missing: scores that the next look waits for.
        outcome: None until the image is decided.
    """

    def __init__(
        self, rule: Rule, n_classes: int, keep_raw: bool, state: ImageState | None = None
    ) -> None:
        self._rule = rule
        self._keep_raw = keep_raw
        self.outcome: Outcome | None = None
        if state is None:
            self.n_draws = 0
            self.target = rule.next_look(0)
            self.survivors = np.arange(n_classes, dtype=np.int32)
            self.classes = tuple(range(n_classes))
            self._known = 0  # no score is known from this draw on
            self._means = np.zeros(n_classes)
            self._draws = np.zeros(n_classes, dtype=np.int32)
            self._errors = np.full((self.target, n_classes), np.nan, dtype=np.float32)
            self._table = np.zeros((self.target, 4))
            self._raw: list[NDArray[np.float32]] = []
            self.missing = self.target * n_classes
            return
        self.n_draws = state.n_draws
        self.target = rule.next_look(state.n_draws)
        self.survivors = state.survivors.copy()
        self.classes = _ints(self.survivors)
        self._known = len(state.errors)
        self._means, self._draws = state.means.copy(), state.draws.copy()
        self._errors, self._table = state.errors.copy(), state.table.copy()
        self._raw = [state.raw] if len(state.raw) else []
        self._reserve(self.target)
        self._wait()

    def add(self, item: WorkItem, scores: ItemScores) -> None:
        """Take the scores of `item`; what is known already or no longer needed is ignored."""
        if self.outcome is not None:
            return
        first, end = item.first_draw, item.first_draw + item.n_draws
        self._reserve(end)
        awaited = max(0, min(end, self.target) - first)  # draws of it
        if first >= self._known and item.classes == self.classes:  # nearly always
            self._errors[first:end] = scores.errors
            self.missing -= awaited * len(self.classes)
        else:
            columns, alive = self._columns(item)
            if not alive.any():
                return
            where = np.ix_(np.arange(first, end), columns[alive])
            cells = self._errors[where]
            unknown = np.isnan(cells)
            self._errors[where] = np.where(unknown, scores.errors[:, alive], cells)
            self.missing -= int(np.count_nonzero(unknown[:awaited]))
        self._table[first:end] = scores.draws
        self._known = max(self._known, end)
        while self.missing == 0 and self.outcome is None:
            self._look()

    @property
    def has_scores(self) -> bool:
        """Whether anything is known."""
        return self.n_draws > 0 or self.missing < self.target * len(self.survivors)

    def is_needed(self, draw: int, class_: int) -> bool:
        """Whether the rule may still want this score, and does not have it."""
        column = int(np.searchsorted(self.survivors, class_))
        if column == len(self.survivors) or self.survivors[column] != class_:
            return False
        if self.outcome is not None:
            return False
        return draw >= len(self._errors) or bool(np.isnan(self._errors[draw, column]))

    def wanted(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """First draw, number of draws and classes of all scores that the next look waits for."""
        unknown = np.isnan(self._errors[self.n_draws : self.target])
        draw = 0
        while draw < len(unknown):
            end = draw + 1
            while end < len(unknown) and np.array_equal(unknown[end], unknown[draw]):
                end += 1
            if unknown[draw].any():
                yield self.n_draws + draw, end - draw, _ints(self.survivors[unknown[draw]])
            draw = end

    def state(self, image_id: str, n_spent: int, seconds: float) -> ImageState:
        """What a checkpoint keeps; it shares no memory with what goes on."""
        n = self.target  # what was scored further ahead is scored again
        return ImageState(
            image_id=image_id,
            n_draws=self.n_draws,
            survivors=self.survivors.copy(),
            means=self._means.copy(),
            draws=self._draws.copy(),
            errors=self._errors[:n].copy(),
            table=self._table[:n].copy(),
            raw=np.concatenate([block.ravel() for block in self._raw])
            if self._raw
            else np.zeros(0, dtype=np.float32),
            n_spent=n_spent,
            seconds=seconds,
        )

    def _columns(self, item: WorkItem) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where each class of an item is among the survivors, and whether it is."""
        classes = np.asarray(item.classes, dtype=np.int32)
        columns = np.searchsorted(self.survivors, classes)
        np.minimum(columns, len(self.survivors) - 1, out=columns)
        return columns, self.survivors[columns] == classes

    def _look(self) -> None:
        """Look as often as the draws allow, up to the first look that removes or stops."""
        gaps = np.isnan(self._errors[self.target : self._known])
        first_gap = int(gaps.argmax()) if gaps.size else 0
        is_gap = gaps.size and gaps.flat[first_gap]
        complete = self.target + first_gap // len(self.classes) if is_gap else self._known
        scores = self._table[:complete, _WEIGHT, None] * self._errors[:complete]
        verdict = self._rule.look(scores, self.n_draws)
        if self._keep_raw:
            self._raw.append(self._errors[self.n_draws : verdict.n_draws].ravel())
        self.n_draws = verdict.n_draws
        all_stay = np.count_nonzero(verdict.keep) == len(verdict.keep)
        if not all_stay or verdict.stop_reason is not None:
            self._means[self.survivors] = scores[: self.n_draws].sum(axis=0) / self.n_draws
            self._draws[self.survivors] = self.n_draws
        if not all_stay:
            self.survivors = self.survivors[verdict.keep]
            self.classes = _ints(self.survivors)
            # One memory layout, whatever the history: numpy's sums depend on it in the last bit.
            self._errors = np.ascontiguousarray(self._errors[:, verdict.keep])
        if verdict.stop_reason is not None:
            self.outcome = self._close(verdict.stop_reason)
            return
        self.target = self._rule.next_look(self.n_draws)
        self._reserve(self.target)
        self._wait()

    def _wait(self) -> None:
        """Count what the next look waits for."""
        self.missing = int(np.count_nonzero(np.isnan(self._errors[self.n_draws : self.target])))

    def _close(self, stop_reason: str) -> Outcome:
        # Those that lasted longest first, then the least mean, then the class number.
        ranking = np.lexsort((self._means, -self._draws))
        return Outcome(
            ranking=_ints(ranking),
            mean_scores=tuple(self._means.tolist()),
            draws_per_class=_ints(self._draws),
            n_draws=self.n_draws,
            stop_reason=stop_reason,
            raw=tuple(self._raw_draws()),
        )

    def _raw_draws(self) -> Iterator[RawDraw]:
        if not self._raw:
            return
        errors = np.concatenate([block.ravel() for block in self._raw])
        start = 0
        for draw in range(self.n_draws):
            classes = np.flatnonzero(self._draws > draw)
            end = start + len(classes)
            t, alpha, sigma, weight = self._table[draw].tolist()
            values = tuple(errors[start:end].tolist())
            yield RawDraw(draw, t, alpha, sigma, weight, _ints(classes), values)
            start = end

    def _reserve(self, n_draws: int) -> None:
        have = len(self._errors)
        if n_draws <= have:
            return
        more = max(n_draws, 2 * have) - have
        blank = np.full((more, self._errors.shape[1]), np.nan, dtype=np.float32)
        self._errors = np.concatenate([self._errors, blank])
        self._table = np.concatenate([self._table, np.zeros((more, 4))])


def _ints(array: NDArray[np.signedinteger]) -> tuple[int, ...]:
    return cast(tuple[int, ...], tuple(array.tolist()))
