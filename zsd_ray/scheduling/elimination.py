"""The successive elimination of one image's classes, fed with scores in any order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.draw_table import Draws
from zsd_ray.records.scores import ImageState, ItemScores, RawDraw, WorkItem
from zsd_ray.rules.rule import Rule
from zsd_ray.stats.class_offset import SCALE_DRAWS, draw_scale


@dataclass(frozen=True)
class Outcome:
    """The end of one image; every list but the ranking is in class order.

    ranking: the classes that had draws, best first.
    mean_scores: nan for a class without draws.
    gaps, gap_errors: of each class less the prediction, the mean over the draws that both had and
        its standard error; nan where there are too few.
    uncorrected: the best class of the same gaps without the offset; None: there was none.
    """

    ranking: tuple[int, ...]
    mean_scores: tuple[float, ...]
    gaps: tuple[float, ...]
    gap_errors: tuple[float, ...]
    draws_per_class: tuple[int, ...]
    n_draws: int
    stop_reason: str
    raw: tuple[RawDraw, ...]
    uncorrected: int | None = None

    @property
    def n_scores(self) -> int:
        return sum(self.draws_per_class)


class Elimination:
    """Holds the errors of the classes of one image and applies the rule when draws are complete.

    Scores may come late, twice, split by class or ahead of the next look; the rule sees complete
    draws only, in order, so the outcome does not depend on how the work was cut.

    Args:
        candidates: (C,) int32, ascending: the classes in the race; None: all. One alone is the
            outcome, without draws.
        state: this image's state in a checkpoint, to resume from.
        offset: (K,) the bias of each class's scores, in the image's draw scales
            (stats/class_offset.py); the rule first looks when SCALE_DRAWS are known.

    Attributes:
        survivors: (S,) int32, class numbers still in the race, ascending; classes: as a tuple.
        n_draws: draws that the rule has seen.
        target: number of draws at its next look.
        missing: scores that the next look waits for.
        outcome: None until the image is decided.
    """

    def __init__(
        self,
        rule: Rule,
        n_classes: int,
        keep_raw: bool,
        state: ImageState | None = None,
        candidates: NDArray[np.int32] | None = None,
        offset: NDArray[np.float64] | None = None,
    ) -> None:
        self._rule = rule
        self._offset = offset
        self._keep_raw = keep_raw
        self.outcome: Outcome | None = None
        self._removed: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []
        if state is None:
            self.n_draws = 0
            self.survivors = (
                np.arange(n_classes, dtype=np.int32) if candidates is None else candidates
            )
            self._draws = np.zeros(n_classes, dtype=np.int32)
            self._errors = np.full((0, len(self.survivors)), np.nan, dtype=np.float32)
            self._drawn = Draws.blank(0)
        else:
            self.n_draws = state.n_draws
            self.survivors, self._draws = state.survivors.copy(), state.draws.copy()
            self._errors, self._drawn = state.errors.copy(), Draws(state.drawn.table.copy())
            self._restore_removed(state.removed)
        self.classes = _ints(self.survivors)
        self._known = len(self._errors)  # no score is known from this draw on
        self._aim()
        if len(self.survivors) == 1 and state is None:
            self.outcome = self._unopposed()

    def add(self, item: WorkItem, scores: ItemScores) -> None:
        """Take the scores of `item`; known and no longer needed ones are ignored."""
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
            columns = columns[alive]
            where = np.ix_(np.arange(first, end), columns)
            cells = self._errors[where]
            unknown = np.isnan(cells)
            self._errors[where] = np.where(unknown, scores.errors[:, alive], cells)
            self.missing -= int(np.count_nonzero(unknown[:awaited]))
        self._drawn.table[first:end] = scores.draws.table
        self._known = max(self._known, end)
        while self.missing == 0 and self.outcome is None:
            self._look()

    @property
    def n_classes(self) -> int:
        """Classes of the image, in the race or not."""
        return len(self._draws)

    @property
    def has_scores(self) -> bool:
        """Whether any score is known."""
        return self.n_draws > 0 or self.missing < self.target * len(self.classes)

    def wanted(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Return first draw, number of draws and classes of the scores that the next look needs."""
        seen = self.n_draws
        unknown = np.isnan(self._errors[seen : self.target])
        draw = 0
        while draw < len(unknown):
            end = draw + 1
            while end < len(unknown) and np.array_equal(unknown[end], unknown[draw]):
                end += 1
            if unknown[draw].any():
                yield seen + draw, end - draw, _ints(self.survivors[unknown[draw]])
            draw = end

    def state(self, image_id: str, n_spent: int, seconds: float) -> ImageState:
        """Return the state for a checkpoint; it shares no memory with this object."""
        n = self.target  # draws scored further ahead are scored again
        draws = self._draws.copy()
        draws[self.survivors] = self.n_draws
        gone = {
            k: column
            for classes, errors in self._removed
            for k, column in zip(classes.tolist(), errors.T, strict=True)
        }
        return ImageState(
            image_id=image_id,
            n_draws=self.n_draws,
            survivors=self.survivors.copy(),
            draws=draws,
            errors=self._errors[:n].copy(),
            drawn=Draws(self._drawn.table[:n].copy()),
            removed=np.concatenate([np.zeros(0, np.float32), *(gone[k] for k in sorted(gone))]),
            n_spent=n_spent,
            seconds=seconds,
        )

    def validate(self) -> None:
        """Check the invariants between events; raises AssertionError where one is broken."""
        assert self.outcome is None, "it is decided"
        alive = self.survivors
        assert (np.diff(alive) > 0).all(), "survivors are not in order"
        assert self.classes == _ints(alive), "the classes are not the survivors"
        errors = self._errors
        assert errors.shape == (len(self._drawn), len(alive)), (
            "errors are of other classes or draws"
        )
        assert self.n_draws < self.target <= len(errors), "the next look is not ahead"
        unknown = np.isnan(errors)
        assert not unknown[: self.n_draws].any(), "the rule has seen scores that are not there"
        assert unknown[self._known :].all(), "scores are known behind the last"
        n_unknown = int(np.count_nonzero(unknown[self.n_draws : self.target]))
        assert n_unknown > 0, "the next look waits for nothing"
        assert self.missing == n_unknown, f"{self.missing} scores missing instead of {n_unknown}"

    def _columns(self, item: WorkItem) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return each class's place among the survivors, and whether it is one of them."""
        classes = np.asarray(item.classes, dtype=np.int32)
        columns = np.searchsorted(self.survivors, classes)
        np.minimum(columns, len(self.survivors) - 1, out=columns)
        return columns, self.survivors[columns] == classes

    def _look(self) -> None:
        """Look as often as the draws allow, up to the first look that removes or stops."""
        complete = self._complete()
        scores = self._drawn[:complete].scores(self._errors[:complete])
        if self._offset is not None:
            scores -= self._ahead[self.survivors]
        verdict = self._rule.look(scores, self.n_draws)
        self.n_draws = verdict.n_draws
        if not verdict.keep.all():
            self._remove(~verdict.keep)
        if verdict.stop_reason is not None:
            chosen = None if verdict.ranking is None else self.survivors[verdict.ranking]
            self.outcome = self._close(verdict.stop_reason, chosen)
        else:
            self._aim()

    def _complete(self) -> int:
        """Return the number of leading draws that every survivor has."""
        if self._known == self.target:
            return self.target
        gaps = np.isnan(self._errors[self.target : self._known])
        first_gap = int(gaps.argmax()) if gaps.size else 0
        is_gap = gaps.size and gaps.flat[first_gap]
        return self.target + first_gap // len(self.survivors) if is_gap else self._known

    def _remove(self, doomed: NDArray[np.bool_]) -> None:
        classes = self.survivors[doomed]
        self._draws[classes] = self.n_draws
        self._removed.append((classes, self._errors[: self.n_draws, doomed]))
        stay = ~doomed
        self.survivors = self.survivors[stay]
        # Always the same memory layout: numpy's sums depend on it in the last bit.
        self._errors = np.ascontiguousarray(self._errors[:, stay])
        self.classes = _ints(self.survivors)

    def _restore_removed(self, errors: NDArray[np.float32]) -> None:
        """Cut the classes that were removed, one after the other, back into columns."""
        self._draws[self.survivors] = 0
        gone = np.flatnonzero(self._draws).astype(np.int32)
        ends = np.cumsum(self._draws[gone])
        for k, column in zip(gone, np.split(errors, ends[:-1]) if len(gone) else [], strict=True):
            self._removed.append((np.array([k], dtype=np.int32), column[:, None]))

    def _aim(self) -> None:
        """Set the draws of the next look, and the number of scores that it still needs."""
        self.target = self._rule.next_look(self.n_draws)
        self._reserve(self.target)
        self.missing = (self.target - self.n_draws) * len(self.survivors)
        if self._known > self.n_draws:
            ahead = self._errors[self.n_draws : self.target]
            self.missing -= ahead.size - int(np.count_nonzero(np.isnan(ahead)))

    def _unopposed(self) -> Outcome:
        unknown = np.full(len(self._draws), np.nan)
        gaps = unknown.copy()
        gaps[self.survivors] = 0.0
        return Outcome(
            ranking=_ints(self.survivors),
            mean_scores=tuple(unknown.tolist()),
            gaps=tuple(gaps.tolist()),
            gap_errors=tuple(gaps.tolist()),
            draws_per_class=_ints(self._draws),
            n_draws=0,
            stop_reason="one-class-left",
            raw=(),
        )

    def _close(self, stop_reason: str, chosen: NDArray[np.int32] | None) -> Outcome:
        """Set the outcome, ranked as `chosen`, or by time of elimination and mean score."""
        drawn = self._drawn[: self.n_draws]
        self._draws[self.survivors] = self.n_draws
        # In the memory layout of removed errors: numpy's sums depend on it in the last bit.
        left = np.asfortranarray(self._errors[: self.n_draws])
        blocks = [*self._removed, (self.survivors, left)]
        means, gaps, gap_errors = np.full((3, len(self._draws)), np.nan)
        weighted = [drawn[: len(errors)].scores(errors) for _, errors in blocks]
        if self._offset is not None:
            for (classes, _), scores in zip(blocks, weighted, strict=True):
                scores -= self._ahead[classes]
        for (classes, _), scores in zip(blocks, weighted, strict=True):
            means[classes] = np.add.reduce(scores, axis=0) / len(scores)
        # Those eliminated last come first, then the least mean, then the class number.
        lasting = np.lexsort((means, -self._draws))[: np.count_nonzero(self._draws)]
        ranking = lasting if chosen is None else chosen
        column = np.searchsorted(self.survivors, ranking[0])
        best = drawn.weight * self._errors[: self.n_draws, column]
        if self._offset is not None:
            best -= self._ahead[ranking[0]]
        for (classes, _), scores in zip(blocks, weighted, strict=True):
            # Like ndarray.mean and .std, to the last bit, without their checks.
            n = len(scores)
            gap = scores - best[:n, None]
            mean = np.add.reduce(gap, axis=0) / n
            gaps[classes] = mean
            if n > 1:
                gap -= mean
                gap *= gap
                deviation = np.sqrt(np.add.reduce(gap, axis=0) / (n - 1))
                gap_errors[classes] = deviation / math.sqrt(n)
        return Outcome(
            ranking=_ints(ranking),
            mean_scores=tuple(means.tolist()),
            gaps=tuple(gaps.tolist()),
            gap_errors=tuple(gap_errors.tolist()),
            draws_per_class=_ints(self._draws),
            n_draws=self.n_draws,
            stop_reason=stop_reason,
            raw=tuple(self._raw_draws(blocks)) if self._keep_raw else (),
            uncorrected=None if self._offset is None else int(np.nanargmin(gaps + self._ahead)),
        )

    @cached_property
    def _ahead(self) -> NDArray[np.float64]:
        """Return the offset in units of this image's scores, by its first draws' scale: (K,)."""
        assert self._offset is not None
        errors = np.full((SCALE_DRAWS, len(self._draws)), np.nan)
        for classes, block in [*self._removed, (self.survivors, self._errors)]:
            errors[:, classes] = block[:SCALE_DRAWS]
        raced = ~np.isnan(errors[0])
        return draw_scale(self._drawn[:SCALE_DRAWS].scores(errors[:, raced])) * self._offset

    def _raw_draws(
        self, blocks: Sequence[tuple[NDArray[np.int32], NDArray[np.float32]]]
    ) -> Iterator[RawDraw]:
        errors = np.full((self.n_draws, len(self._draws)), np.nan, dtype=np.float32)
        for classes, block in blocks:
            errors[: len(block), classes] = block
        for draw in range(self.n_draws):
            scored = np.flatnonzero(self._draws > draw)
            t, alpha, sigma, weight = self._drawn.table[draw].tolist()
            values = tuple(errors[draw, scored].tolist())
            yield RawDraw(draw, t, alpha, sigma, weight, _ints(scored), values)

    def _reserve(self, n_draws: int) -> None:
        have = len(self._errors)
        if n_draws <= have:
            return
        more = max(n_draws, 2 * have) - have
        blank = np.full((more, self._errors.shape[1]), np.nan, dtype=np.float32)
        self._errors = np.concatenate([self._errors, blank])
        self._drawn = Draws(np.concatenate([self._drawn.table, np.zeros((more, 4))]))


def _ints(array: NDArray[np.signedinteger]) -> tuple[int, ...]:
    return cast(tuple[int, ...], tuple(array.tolist()))
