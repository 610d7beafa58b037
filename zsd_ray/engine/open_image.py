"""One image between its first micro-batch and its decision."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from zsd_ray.engine.elimination import Elimination
from zsd_ray.spec.records import Decision, ImageRecord, ItemScores, WorkItem
from zsd_ray.stats.rules import Rule


class OpenImage:
    """An image's elimination, and where each of its wanted scores is: queued or in flight.

    Attributes:
        number: the image's number in the run.
        queue: items that no worker has yet, first draws first.
        owner: the worker that holds the encoded image, or None after it was lost.
        in_flight: scores that workers are busy with.
    """

    def __init__(
        self,
        number: int,
        record: ImageRecord,
        rule: Rule,
        n_classes: int,
        traced: bool,
        keep_raw: bool,
    ) -> None:
        self.number = number
        self.record = record
        self.elimination = Elimination(rule, n_classes, keep_raw or traced)
        self._traced = traced
        self.queue: deque[WorkItem] = deque()
        self.owner: str | None = None
        self.in_flight = 0
        self._max_draws = rule.max_draws
        self._queued_to = 0  # every draw before this one has been queued
        self._scores_sent = 0
        self._seconds = 0.0
        self._queue_up_to(self.elimination.target)

    def answered(self, item: WorkItem, scores: ItemScores, seconds: float) -> None:
        """Feed the scores of an item in flight, and queue what the next look needs."""
        self.in_flight -= item.n_scores
        self._seconds += seconds
        before = self.elimination.n_draws
        self.elimination.add(item, scores)
        if self.elimination.outcome is None and self.elimination.n_draws > before:
            self.queue = deque(self._still_needed(self.queue))
            self._queue_up_to(self.elimination.target)

    def sent(self, items: Iterable[WorkItem]) -> None:
        """Note that a worker was given items of this image."""
        n_scores = sum(item.n_scores for item in items)
        self.in_flight += n_scores
        self._scores_sent += n_scores

    def returned(self, item: WorkItem) -> None:
        """Queue again, in front, what was in flight on a lost worker."""
        self.in_flight -= item.n_scores
        self.queue.extendleft(self._still_needed([item]))

    def look_ahead(self, room: int) -> None:
        """Queue whole draws beyond the next look: at most `room` scores, at most doubling.

        The rule may turn out not to need them; this is for rows that would be padding otherwise.
        """
        n_survivors = len(self.elimination.survivors)
        limit = min(2 * self.elimination.n_draws, self._max_draws)
        self._queue_up_to(min(limit, self._queued_to + room // n_survivors))

    def decision(self, worker: str, n_templates: int, error: str | None = None) -> Decision:
        """The row of this image, decided or failed with `error`."""
        record, outcome = self.record, self.elimination.outcome
        spent = self._scores_sent * n_templates
        if error is not None or outcome is None:
            return Decision(
                image_id=record.image_id,
                source=record.source,
                label=record.label,
                prediction=None,
                n_spent=spent,
                stop_reason="error",
                error=error,
                worker=worker,
                seconds=self._seconds,
            )
        return Decision(
            image_id=record.image_id,
            source=record.source,
            label=record.label,
            prediction=outcome.ranking[0],
            top5=outcome.ranking[:5],
            mean_scores=outcome.mean_scores,
            draws_per_class=outcome.draws_per_class,
            n_draws=outcome.n_draws,
            n_evaluations=outcome.n_scores * n_templates,
            n_spent=spent,
            stop_reason=outcome.stop_reason,
            worker=worker,
            seconds=self._seconds,
            raw=outcome.raw,
            traced=self._traced,
        )

    def _queue_up_to(self, n_draws: int) -> None:
        if n_draws > self._queued_to:
            classes = tuple(self.elimination.survivors.tolist())
            self.queue.append(
                WorkItem(self.number, self._queued_to, n_draws - self._queued_to, classes)
            )
            self._queued_to = n_draws

    def _still_needed(self, items: Iterable[WorkItem]) -> Iterator[WorkItem]:
        """The items without the classes that have been removed."""
        alive = set(self.elimination.survivors.tolist())
        for item in items:
            classes = tuple(class_ for class_ in item.classes if class_ in alive)
            if classes:
                yield WorkItem(item.image, item.first_draw, item.n_draws, classes)
