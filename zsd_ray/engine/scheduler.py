"""The scheduler of a data set: a pure state machine, events in, instructions out.

It knows no clock, network, Ray or torch: durations arrive inside events. `runtime/` and
`engine/local.py` are thin shells around it.

Work is handed out on demand. A request is filled, in this order, with

1. queued work of the worker's own open images (those whose encoded form it holds), oldest first;
2. queued work of images whose worker was lost, then new images;
3. queued work of other workers' images, so that no worker idles while another has a queue;
4. draws ahead of the next look, in rows that would be padding otherwise.

So images are opened only as workers need them, and their number follows the workers' speed.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from zsd_ray.engine.events import (
    Assign,
    Decide,
    Event,
    Instruction,
    Release,
    ScoresArrived,
    WorkerJoined,
    WorkerLost,
    WorkRequested,
)
from zsd_ray.engine.open_image import OpenImage
from zsd_ray.engine.packer import take
from zsd_ray.spec.records import ImageFailure, ImageRecord, MicroBatch, WorkItem
from zsd_ray.stats.rules import Rule


@dataclass
class _Worker:
    batch_size: int
    rows_per_second: float = 0.0
    in_flight: dict[int, MicroBatch] = field(default_factory=dict)
    requests: int = 0
    ready: list[int] = field(default_factory=list)  # heap of own images with queued work


@dataclass
class Counters:
    """What happened so far.

    n_evaluations and n_spent are those of decided images; n_scored counts evaluations as they are
    answered, and n_rows adds the rows that padded a batch.
    """

    decided: int = 0
    errors: int = 0
    labelled: int = 0
    correct: int = 0
    n_evaluations: int = 0
    n_spent: int = 0
    n_scored: int = 0
    n_rows: int = 0


class Scheduler:
    """Runs the elimination of many images over workers that come and go.

    Args:
        records: all images of the data set.
        images: numbers of the images to decide, in this order.
        rule: the pruning rule of every image.
        n_classes, n_templates: a class costs one evaluation a template and draw.
        traced: numbers of the images whose raw draws go into their decisions.
        keep_all_raw: every image's do.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        images: Sequence[int],
        rule: Rule,
        n_classes: int,
        n_templates: int = 1,
        traced: frozenset[int] = frozenset(),
        keep_all_raw: bool = False,
    ) -> None:
        self._records = records
        self._images = images
        self._rule = rule
        self._n_classes = n_classes
        self._n_templates = n_templates
        self._traced = traced
        self._keep_all_raw = keep_all_raw
        self._next = 0
        self._ids = itertools.count()
        self._open: dict[int, OpenImage] = {}
        self._workers: dict[str, _Worker] = {}
        self._orphans: list[int] = []  # heap of images with queued work and no owner
        self._waiting: deque[str] = deque()  # workers with an unanswered request, oldest first
        self.counters = Counters()

    @property
    def finished(self) -> bool:
        return self._next == len(self._images) and not self._open

    def handle(self, event: Event) -> list[Instruction]:
        """Take one event and return what to do now."""
        out: list[Instruction] = []
        match event:
            case WorkerJoined(worker, batch_size):
                if worker not in self._workers:
                    self._workers[worker] = _Worker(batch_size)
            case WorkerLost(worker):
                self._lose(worker)
            case WorkRequested(worker):
                if worker in self._workers:
                    self._workers[worker].requests += 1
                    self._waiting.append(worker)
                else:
                    out.append(Release(worker))
            case ScoresArrived():
                self._arrive(event, out)
        self._serve(out)
        return out

    def _arrive(self, event: ScoresArrived, out: list[Instruction]) -> None:
        worker = self._workers.get(event.worker)
        scores = event.scores
        # Unknown where it was answered before, or taken back when its worker seemed lost.
        micro_batch = worker.in_flight.pop(scores.id, None) if worker else None
        if worker is None or micro_batch is None:
            return
        self.counters.n_rows += scores.n_rows
        if scores.seconds > 0:
            speed = scores.n_rows / scores.seconds
            known = worker.rows_per_second
            worker.rows_per_second = speed if not known else 0.7 * known + 0.3 * speed
        seconds_each = scores.seconds / micro_batch.n_scores
        for item, answer in zip(micro_batch.items, scores.answers, strict=True):
            image = self._open.get(item.image)
            if isinstance(answer, ImageFailure):
                if image is not None:
                    self._close(image, event.worker, out, error=answer.message)
                continue
            self.counters.n_scored += item.n_scores * self._n_templates
            if image is None:
                continue
            image.answered(item, answer, seconds_each * item.n_scores)
            if image.elimination.outcome is not None:
                self._close(image, event.worker, out)
            elif image.queue:
                self._ready(image)

    def _close(
        self, image: OpenImage, worker: str, out: list[Instruction], error: str | None = None
    ) -> None:
        del self._open[image.number]
        decision = image.decision(worker, self._n_templates, error)
        self.counters.decided += 1
        self.counters.errors += error is not None
        self.counters.labelled += decision.correct is not None
        self.counters.correct += decision.correct is True
        self.counters.n_evaluations += decision.n_evaluations
        self.counters.n_spent += decision.n_spent
        out.append(Decide(decision))

    def _lose(self, name: str) -> None:
        worker = self._workers.pop(name, None)
        if worker is None:
            return
        self._waiting = deque(waiting for waiting in self._waiting if waiting != name)
        for image in self._open.values():
            if image.owner == name:
                image.owner = None
                if image.queue:
                    heapq.heappush(self._orphans, image.number)
        for micro_batch in worker.in_flight.values():
            for item in reversed(micro_batch.items):
                image_ = self._open.get(item.image)
                if image_ is not None:
                    image_.returned(item)
                    if image_.queue:
                        self._ready(image_)

    def _ready(self, image: OpenImage) -> None:
        """List the image where its owner, or anyone, will find its queued work."""
        owner = self._workers.get(image.owner) if image.owner else None
        heapq.heappush(owner.ready if owner else self._orphans, image.number)

    # ---- handing out work

    def _serve(self, out: list[Instruction]) -> None:
        if self.finished:
            while self._waiting:
                name = self._waiting.popleft()
                self._workers[name].requests -= 1
                out.append(Release(name))
            return
        nothing_queued = False
        for _ in range(len(self._waiting)):
            name = self._waiting.popleft()
            worker = self._workers[name]
            # An idle worker may still guess ahead; one that has work waits for real work.
            skip = nothing_queued and worker.in_flight
            micro_batch = None if skip else self._fill(name)
            if micro_batch is None:
                nothing_queued = True
                self._waiting.append(name)
                continue
            worker.requests -= 1
            worker.in_flight[micro_batch.id] = micro_batch
            out.append(Assign(name, micro_batch))

    def _fill(self, name: str) -> MicroBatch | None:
        worker = self._workers[name]
        room = self._room(worker)
        items = self._take(worker.ready, room)
        room -= _size(items)
        while room > 0:
            image = self._adopt(name)
            if image is None:
                break
            more = self._take(worker.ready, room)
            items += more
            room -= _size(more)
        while room > 0 and (victim := self._busiest()) is not None:
            more = self._take(victim.ready, room)
            items += more
            room -= _size(more)
        if items or not worker.in_flight:
            # A full batch costs what a part-filled one costs; more than the rest of the last
            # batch is not worth guessing.
            batch = max(1, worker.batch_size // self._n_templates)
            items += self._guess(-_size(items) % batch if items else batch)
        if not items:
            return None
        return MicroBatch(next(self._ids), tuple(items))

    def _room(self, worker: _Worker) -> int:
        """How many scores to send: what keeps the scheduler's load low, less near the end.

        One micro-batch lasts about 2 ms a worker, within 0.1 to 1 s, so that all workers together
        send at most some 500 a second; near the end no worker takes more than a quarter of its
        share of what is left.
        """
        seconds = min(1.0, max(0.1, len(self._workers) / 500))
        rows = worker.rows_per_second * seconds
        unopened = (len(self._images) - self._next) * self._rule.next_look(0) * self._n_classes
        share = unopened * self._n_templates / (4 * len(self._workers))
        batches = max(1, int(min(rows, share) / worker.batch_size))
        return max(1, batches * worker.batch_size // self._n_templates)

    def _take(self, ready: list[int], room: int) -> list[WorkItem]:
        """Take queued work of the listed images, lowest number first."""
        items: list[WorkItem] = []
        while ready and room > 0:
            image = self._open.get(ready[0])
            if image is None or not image.queue:  # decided, or emptied by another worker
                heapq.heappop(ready)
                continue
            taken = take(image.queue, room)
            image.sent(taken)
            items += taken
            room -= _size(taken)
            if not image.queue:
                heapq.heappop(ready)
        return items

    def _adopt(self, name: str) -> OpenImage | None:
        """Give the worker one more image of its own: an orphan, else a new one."""
        image: OpenImage | None = None
        while self._orphans and image is None:
            image = self._open.get(heapq.heappop(self._orphans))
            if image is not None and not image.queue:
                image = None
        if image is None:
            if self._next == len(self._images):
                return None
            number = self._images[self._next]
            self._next += 1
            image = OpenImage(
                number,
                self._records[number],
                self._rule,
                self._n_classes,
                traced=number in self._traced,
                keep_raw=self._keep_all_raw,
            )
            self._open[number] = image
        image.owner = name
        self._ready(image)
        return image

    def _busiest(self) -> _Worker | None:
        """The worker with the most images that wait for it; none has any: None."""
        best = max(self._workers.values(), key=lambda worker: len(worker.ready), default=None)
        return best if best and best.ready else None

    def _guess(self, room: int) -> list[WorkItem]:
        """Draws beyond the next look, of the images that were opened first."""
        items: list[WorkItem] = []
        # Reached only when nothing is queued anywhere: each queue is empty before and after.
        for image in self._open.values():
            if room <= 0:
                break
            image.look_ahead(room)
            taken = take(image.queue, room)
            image.sent(taken)
            items += taken
            room -= _size(taken)
        return items

    # ---- for tests

    def validate(self) -> None:
        """Assert what must hold between events."""
        opened = set(self._images[: self._next])
        assert set(self._open) <= opened
        assert self.counters.decided == self._next - len(self._open)
        assert all(self._workers[name].requests > 0 for name in self._waiting)
        assert len(self._waiting) == sum(w.requests for w in self._workers.values())
        if self._waiting:
            assert not any(image.queue for image in self._open.values()), "work waits for a request"
        flying: dict[int, list[WorkItem]] = {number: [] for number in self._open}
        for worker in self._workers.values():
            for micro_batch in worker.in_flight.values():
                for item in micro_batch.items:
                    flying.get(item.image, []).append(item)
        for number, image in self._open.items():
            assert image.elimination.outcome is None
            assert image.in_flight == _size(flying[number]), "in-flight count is off"
            cells: set[tuple[int, int]] = set()
            for item in [*flying[number], *image.queue]:
                for draw in range(item.first_draw, item.first_draw + item.n_draws):
                    for class_ in item.classes:
                        assert (draw, class_) not in cells, "a score is on its way twice"
                        cells.add((draw, class_))
            wanted = image.elimination
            missing = sum(
                wanted.is_needed(draw, class_) for draw, class_ in cells if draw < wanted.target
            )
            assert missing == wanted.missing > 0, "a wanted score is neither queued nor in flight"
            if image.queue:
                owner = self._workers.get(image.owner) if image.owner else None
                assert number in (owner.ready if owner else self._orphans), "nobody will find it"


def _size(items: Sequence[WorkItem]) -> int:
    return sum(item.n_scores for item in items)
