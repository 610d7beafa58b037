"""One image between its first micro-batch and its decision."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.cost import Cost
from zsd_ray.records.scores import (
    Candidates,
    Decision,
    ImageRecord,
    ImageState,
    ItemScores,
    WorkItem,
)
from zsd_ray.rules.rule import Rule
from zsd_ray.scheduling.elimination import Elimination
from zsd_ray.scheduling.packer import take


@dataclass
class Backlog:
    """The total of queued scores of all open images."""

    n_scores: int = 0


class OpenImage:
    """An image's elimination, and the state of each wanted score: queued or in flight.

    Args:
        backlog: kept up to date with the scores queued here.
        cost: of its scores.
        state: its state in a checkpoint, to resume from.
        candidates: the classes in its race; None: all.
        offset: as for `Elimination`.

    Attributes:
        number: the image's number in the run.
        queue: items that no worker has yet, first draws first.
        owner: the worker that holds the encoded image, or None.
        in_flight: scores that workers are busy with.
        strikes: consecutive workers that died over it; with any, it is sent alone.
        trial: id of the micro-batch that it is alone in, if one is in flight.
        unread: number of times that a worker returned it because its store did not answer.
    """

    def __init__(
        self,
        number: int,
        record: ImageRecord,
        rule: Rule,
        n_classes: int,
        traced: bool,
        keep_raw: bool,
        backlog: Backlog,
        cost: Cost,
        state: ImageState | None = None,
        candidates: Candidates | None = None,
        offset: NDArray[np.float64] | None = None,
    ) -> None:
        self.number = number
        self.record = record
        self._candidates = candidates
        classes = None if candidates is None else candidates.classes
        self.elimination = Elimination(rule, n_classes, keep_raw or traced, state, classes, offset)
        self._traced = traced
        self.queue: deque[WorkItem] = deque()
        self.owner: str | None = None
        self.in_flight = 0
        self.strikes = 0
        self.trial: int | None = None
        self.unread = 0
        self._backlog = backlog
        self._cost = cost
        self._n_queued = 0
        self._rule = rule
        self._queued_to = 0  # every draw before this one has been queued
        self._spent = 0  # evaluations sent to workers
        self._counted = 0  # evaluations that workers counted themselves
        self._seconds = 0.0
        if state is not None:
            self._spent, self._seconds = state.n_spent, state.seconds
            self._counted = state.n_counted
            self._queue_wanted()
        elif self.elimination.outcome is None:
            self._queue_up_to(self.elimination.target)
        self._count()

    @property
    def n_queued(self) -> int:
        """The number of scores in the queue."""
        return self._n_queued

    def answered(self, item: WorkItem, scores: ItemScores, seconds: float, size: int) -> None:
        """Take the scores of an item in flight, and queue the scores that the next look needs.

        Args:
            size: the number of scores that an item should have. If the next look needs fewer, later
                draws fill the item, at most half as many as were seen.
        """
        self.in_flight -= item.n_scores
        self._seconds += seconds
        if scores.n_evaluations is not None:
            self._counted += scores.n_evaluations
            self._spent += scores.n_evaluations - self._cost.of_item(item)
        elimination = self.elimination
        before = elimination.n_draws
        elimination.add(item, scores)
        if elimination.outcome is None and elimination.n_draws > before:
            if self.queue:
                self.queue = deque(self._still_needed(self.queue))
            seen = elimination.n_draws
            ahead = min(seen // 2, size // len(elimination.classes))
            self._queue_up_to(max(elimination.target, min(seen + ahead, self._rule.max_draws)))
            self._count()

    def take(self, room: int) -> list[WorkItem]:
        """Take up to `room` evaluations from the queue, for a worker."""
        items = take(self.queue, room, self._cost)
        self.in_flight += sum([item.n_scores for item in items])
        self._spent += self._cost.of(items)
        self._count()
        return items

    def returned(self, item: WorkItem) -> None:
        """Queue unanswered scores of an item in flight again, in front."""
        self.in_flight -= item.n_scores
        self.queue.extendleft(self._still_needed([item]))
        self._count()

    def look_ahead(self, room: int) -> bool:
        """Queue whole draws beyond the next look: at most `room` evaluations, at most doubling.

        The rule may not need them in the end; they fill rows that would be padding otherwise.

        Returns:
            Whether more may be queued before the next look.
        """
        a_draw = self._cost.of_draw(len(self.elimination.classes))
        limit = min(2 * self.elimination.n_draws, self._rule.max_draws)
        self._queue_up_to(min(limit, self._queued_to + room // a_draw))
        self._count()
        return self._queued_to < limit

    def close(self) -> None:
        """Drop all queued scores."""
        self.queue.clear()
        self._count()

    def state(self) -> ImageState | None:
        """Return the state for a checkpoint; None if no score is known yet."""
        if not self.elimination.has_scores:
            return None
        state = self.elimination.state(self.record.image_id, self._spent, self._seconds)
        return replace(state, n_counted=self._counted)

    def validate(self, flying: Sequence[WorkItem]) -> None:
        """Check the invariants between events.

        Args:
            flying: the items of this image that workers have.

        Raises:
            AssertionError: an invariant is broken.
        """
        elimination = self.elimination
        elimination.validate()
        n_flying = sum(item.n_scores for item in flying)
        assert self.in_flight == n_flying, f"{self.in_flight} in flight instead of {n_flying}"
        n_queued = sum(item.n_scores for item in self.queue)
        assert self._n_queued == n_queued, f"{self._n_queued} queued instead of {n_queued}"
        ends = [item.first_draw + item.n_draws for item in (*flying, *self.queue)]
        under_way = np.zeros((max(ends, default=0), elimination.n_classes), dtype=np.int32)
        for item in (*flying, *self.queue):
            draws = slice(item.first_draw, item.first_draw + item.n_draws)
            under_way[draws, list(item.classes)] += 1
        assert not (under_way > 1).any(), "a score is on its way twice"
        for first, n, classes in elimination.wanted():
            cells = under_way[first : first + n, list(classes)]
            found = "a wanted score is neither queued nor in flight"
            assert len(cells) == n, found
            assert cells.all(), found

    def decision(
        self, worker: str, error: str | None = None, stop_reason: str = "error"
    ) -> Decision:
        """Return the decision of this image, decided or failed with `error`."""
        record, outcome = self.record, self.elimination.outcome
        cost = self._cost
        screened = self._candidates
        if screened is not None and not screened.screened:
            screened = None
        if error is not None or outcome is None:
            return Decision(
                image_id=record.image_id,
                source=record.source,
                label=record.label,
                group=record.group,
                prediction=None,
                n_spent=self._spent,
                stop_reason=stop_reason,
                error=error,
                worker=worker,
                seconds=self._seconds,
            )
        return Decision(
            image_id=record.image_id,
            source=record.source,
            label=record.label,
            group=record.group,
            prediction=outcome.ranking[0],
            uncorrected=outcome.uncorrected,
            top5=outcome.ranking[:5],
            mean_scores=outcome.mean_scores,
            gaps=outcome.gaps,
            gap_errors=outcome.gap_errors,
            draws_per_class=outcome.draws_per_class,
            n_draws=outcome.n_draws,
            n_candidates=None if screened is None else len(screened.classes),
            n_screen_evaluations=None if screened is None else screened.n_evaluations,
            n_evaluations=self._counted or cost.of_race(outcome.n_scores, outcome.n_draws),
            n_spent=self._spent,
            stop_reason=outcome.stop_reason,
            worker=worker,
            seconds=self._seconds,
            raw=outcome.raw,
            traced=self._traced,
        )

    def _count(self) -> None:
        now = sum([item.n_scores for item in self.queue]) if self.queue else 0
        self._backlog.n_scores += now - self._n_queued
        self._n_queued = now

    def _queue_up_to(self, n_draws: int) -> None:
        if n_draws > self._queued_to:
            first, n = self._queued_to, n_draws - self._queued_to
            self.queue.append(WorkItem(self.number, first, n, self.elimination.classes))
            self._queued_to = n_draws

    def _queue_wanted(self) -> None:
        """Queue exactly the scores that the next look needs."""
        self.queue = deque(WorkItem(self.number, *cut) for cut in self.elimination.wanted())
        self._queued_to = self.elimination.target

    def _still_needed(self, items: Iterable[WorkItem]) -> Iterator[WorkItem]:
        """Return the items without classes that have been removed."""
        alive = set(self.elimination.classes)
        for item in items:
            classes = tuple(class_ for class_ in item.classes if class_ in alive)
            if classes:
                yield WorkItem(item.image, item.first_draw, item.n_draws, classes)
