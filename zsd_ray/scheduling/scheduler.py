"""The scheduler of a data set: a pure state machine, events in, instructions out.

It knows no clock, network, Ray or torch: durations arrive inside events. `runtime/` and
`evaluation/local.py` are thin shells around it.

Work is handed out on demand. A request is filled, in this order, with

1. an image over which a worker died, alone, to a worker that has scored and has nothing else;
2. queued work of the worker's own open images (those whose encoded form it holds), oldest first;
3. queued work of images without an owner, then new images;
4. queued work of other workers' images, so that no worker idles while another has a queue;
5. draws ahead of the next look, in rows that would be padding otherwise.

So images are opened only as workers need them, and their number follows the workers' speed.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.cost import ONE_EACH, Cost
from zsd_ray.records.scores import (
    Candidates,
    ImageFailure,
    ImageRecord,
    ImageState,
    MicroBatch,
    MicroBatchScores,
    WorkItem,
)
from zsd_ray.rules.rule import Rule
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.events import (
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
from zsd_ray.scheduling.image_queues import ImageQueues
from zsd_ray.scheduling.open_image import Backlog, OpenImage
from zsd_ray.scheduling.worker_pool import WorkerPool

MAX_STRIKES = 3
"""Workers that may die over one image, or fail to reach its store, before it is given up."""

WORKERS_PER_SCHEDULER = 250
"""What one scheduler carries with room to spare (docs/measurements/performance.md); above, there
are several, each with its share of the images."""

ANSWERS_PER_SECOND = 250
"""Micro-batches that one scheduler takes back a second, when it may choose: a quarter of what one
core does through Ray (docs/measurements/performance.md), so that requests do not queue."""

ITEMS_PER_SECOND = 4000
"""Items, likewise; where workers are fast and classes few, an item takes several draws."""


class Scheduler:
    """Runs the elimination of many images over workers that come and go.

    Args:
        records: the images of the data set by number; at least those in `images` and `states`.
        images: numbers of the images to decide, in this order.
        rule: the pruning rule of every image.
        n_classes: of each image; cost: of their scores.
        traced: numbers of the images whose raw draws go into their decisions.
        keep_all_raw: whether the raw draws of all images do.
        states: states of other images in a checkpoint, by number; these images come first.
        first_id: of the micro-batches; an earlier scheduler's ids must not be reused.
        candidates: returns the classes in the race of an image's number; None: all.
        classes_each: the mean number of candidates; None: all classes.
        offset: returns the offset of an image's id, as for `Elimination`.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord] | Mapping[int, ImageRecord],
        images: Sequence[int],
        rule: Rule,
        n_classes: int,
        cost: Cost = ONE_EACH,
        traced: frozenset[int] = frozenset(),
        keep_all_raw: bool = False,
        states: Mapping[int, ImageState] | None = None,
        first_id: int = 0,
        candidates: Callable[[int], Candidates | None] = lambda number: None,
        classes_each: float | None = None,
        offset: Callable[[str], NDArray[np.float64] | None] = lambda image_id: None,
    ) -> None:
        self._records = records
        self._images = images
        self._rule = rule
        self._n_classes = n_classes
        self._cost = cost
        self._traced = traced
        self._keep_all_raw = keep_all_raw
        self._candidates = candidates
        self._offset = offset
        self._classes_each = n_classes if classes_each is None else classes_each
        self._next = 0
        self._ids = itertools.count(first_id)
        self._open: dict[int, OpenImage] = {}
        self._queues = ImageQueues(self._open, cost)
        self._backlog = Backlog()
        self._suspects: deque[int] = deque()  # images over which a worker died
        self._workers = WorkerPool()
        self.counters = Counters()
        self._n_restored = len(states or {})
        self._n_closed = 0
        for number, state in (states or {}).items():
            self._queues.add(self._open_image(number, state))

    @property
    def finished(self) -> bool:
        return self._next == len(self._images) and not self._open

    @property
    def n_open(self) -> int:
        """The number of images between their first micro-batch and their decision."""
        return len(self._open)

    @property
    def n_queued(self) -> int:
        """The approximate number of open images with work to hand out, for a gauge."""
        return len(self._queues) + len(self._suspects)

    @property
    def n_unopened(self) -> int:
        return len(self._images) - self._next

    @property
    def _evaluations_left(self) -> float:
        """Return queued evaluations plus those of the first looks at images not opened yet."""
        cost = self._cost
        one_look = self._rule.next_look(0) * (self._classes_each * cost.per_score + cost.per_draw)
        queued = cost.per_score + cost.per_draw / self._classes_each
        return self._backlog.n_scores * queued + self.n_unopened * one_look

    def handle(self, event: Event) -> list[Instruction]:
        """Handle one event and return the instructions."""
        out: list[Instruction] = []
        match event:
            case WorkerJoined(worker, batch_size):
                self._workers.join(worker, batch_size)
            case WorkerLost(worker, blame):
                self._lose(worker, blame, out)
            case WorkRequested(worker):
                if worker in self._workers:
                    self._workers.request(worker)
                else:
                    out.append(Release(worker))
            case ScoresArrived(worker, scores):
                self._arrive(worker, scores, out)
        self._serve(out)
        return out

    def states(self) -> list[ImageState]:
        """Return the states of the open images for a checkpoint."""
        states = (image.state() for image in self._open.values())
        return [state for state in states if state is not None]

    def expected_seconds(self, worker: str, micro_batch: int) -> float | None:
        """Return the expected time of a worker's micro-batches, up to and with this one.

        None if its speed is not known yet, or it does not have the micro-batch.
        """
        return self._workers.expected_seconds(worker, micro_batch, self._cost)

    def idle_workers(self) -> list[str]:
        """Return workers that wait and have nothing in flight."""
        return self._workers.idle

    def useful_workers(self, batch_size: int) -> int:
        """Return the number of workers that could be busy now."""
        return self._workers.n_busy + math.ceil(self._evaluations_left / batch_size)

    def images_of(self, worker: str) -> set[int]:
        """Return the numbers of a worker's images; none for an unknown worker."""
        if worker not in self._workers:
            return set()
        return {i.image for m in self._workers[worker].in_flight.values() for i in m.items}

    def validate(self, images: Iterable[int] | None = None) -> None:
        """Check the invariants between events: of workers, of totals, and closely of some images.

        Args:
            images: numbers of these images, open or not; None: all.

        Raises:
            AssertionError: an invariant is broken.
        """
        workers = self._workers
        workers.validate()
        if images is None:
            assert self._open.keys().isdisjoint(self._images[self._next :]), "opened twice"
        given, known = self._next + self._n_restored, self._n_closed + len(self._open)
        assert given == known, f"of {given} images {known} are open or decided"
        chosen = self._open.keys() if images is None else self._open.keys() & set(images)
        flying: dict[int, list[WorkItem]] = {number: [] for number in chosen}
        n_flying = 0
        for micro_batch in workers.micro_batches:
            for item in micro_batch.items:
                n_flying += item.n_scores if item.image in self._open else 0
                if item.image in flying:
                    flying[item.image].append(item)
        in_flight = sum(image.in_flight for image in self._open.values())
        assert in_flight == n_flying, f"{in_flight} scores in flight instead of {n_flying}"
        n_queued = sum(image.n_queued for image in self._open.values())
        assert self._backlog.n_scores == n_queued, (
            f"{self._backlog.n_scores} scores in the backlog instead of {n_queued}"
        )
        for number, items in flying.items():
            try:
                self._open[number].validate(items)
            except AssertionError as error:
                raise AssertionError(f"image {number}: {error}") from error
        self._queues.validate(self._open[number] for number in flying)
        self._validate_suspects()
        if workers.first_waiting is not None:
            stuck = [i.number for i in self._open.values() if i.queue and not i.strikes]
            assert not stuck, f"a worker waits, and so does the work of image {stuck[0]}"
            assert not self.n_unopened, "a worker waits, and images are not opened"
            assert not self.finished, "a worker waits for work that will not come"

    def _validate_suspects(self) -> None:
        """Check the invariants of images over which a worker died."""
        assert len(self._suspects) == len(set(self._suspects)), "a suspect is listed twice"
        trials = {image.trial: image for image in self._open.values() if image.trial is not None}
        batches = {micro_batch.id: micro_batch for micro_batch in self._workers.micro_batches}
        for id_, image in trials.items():
            assert id_ in batches, f"the trial of image {image.number} is with no worker"
            alone = {item.image for item in batches[id_].items} == {image.number}
            assert alone, f"image {image.number} is not alone in its trial"
        for image in self._open.values():
            if image.strikes and image.queue and image.trial is None:
                assert image.number in self._suspects, f"nobody will try image {image.number}"
        proven = [name for name in self._workers.idle if self._workers[name].rows_per_second]
        assert not (proven and self._suspects), "a suspect waits for a worker that is idle"

    def _arrive(self, name: str, scores: MicroBatchScores, out: list[Instruction]) -> None:
        micro_batch = self._workers.answered(name, scores)
        if micro_batch is None:
            return
        self.counters.n_rows += scores.n_rows
        self.counters.n_micro_batches += 1
        size = int(self._workers.speed / self._cost.least / ITEMS_PER_SECOND)
        unread: set[int] = set()  # counted once per worker
        seconds_each = scores.seconds / micro_batch.n_scores
        for item, answer in zip(micro_batch.items, scores.unpack(micro_batch.items), strict=True):
            image = self._open.get(item.image)
            if image is not None and image.trial == scores.id:
                image.strikes, image.trial = 0, None
            if isinstance(answer, ImageFailure):
                if image is not None:
                    image.unread += answer.unreadable and item.image not in unread
                    unread.add(item.image)
                    self._fail(image, item, answer, name, out)
                continue
            counted = answer.n_evaluations
            self.counters.n_scored += self._cost.of_item(item) if counted is None else counted
            if image is None:
                continue
            image.answered(item, answer, seconds_each * item.n_scores, size)
            if image.elimination.outcome is not None:
                self._close(image, name, out)
            else:
                self._ready(image)

    def _fail(
        self,
        image: OpenImage,
        item: WorkItem,
        failure: ImageFailure,
        worker: str,
        out: list[Instruction],
    ) -> None:
        if failure.unreadable and image.unread < MAX_STRIKES:
            image.returned(item)
            image.owner = None  # perhaps another worker reaches the store
            self._ready(image)
            return
        reason = "unreadable" if failure.unreadable else "error"
        self._close(image, worker, out, failure.message, reason)

    def _close(
        self,
        image: OpenImage,
        worker: str,
        out: list[Instruction],
        error: str | None = None,
        stop_reason: str = "error",
    ) -> None:
        del self._open[image.number]
        image.close()
        self._n_closed += 1
        decision = image.decision(worker, error, stop_reason)
        self.counters.decided += 1
        self.counters.errors += error is not None
        self.counters.labelled += decision.correct is not None
        self.counters.correct += decision.correct is True
        self.counters.n_evaluations += decision.n_evaluations
        self.counters.n_spent += decision.n_spent
        out.append(Decide(decision))

    def _lose(self, name: str, blame: bool, out: list[Instruction]) -> None:
        worker = self._workers.leave(name)
        if worker is None:
            return
        self._queues.disown(name)
        self.counters.n_retries += len(worker.in_flight)
        # It may have died over the images that it scored, or those that it read ahead.
        struck = {item.image for m in worker.in_flight.values() for item in m.items if blame}
        for micro_batch in reversed(worker.in_flight.values()):
            for item in reversed(micro_batch.items):
                image = self._open.get(item.image)
                if image is None:
                    continue
                image.returned(item)
                if image.trial == micro_batch.id:
                    image.trial = None
                if item.image in struck:
                    struck.discard(item.image)
                    image.strikes += 1
                if image.strikes == MAX_STRIKES:
                    message = f"{MAX_STRIKES} workers died while they scored this image"
                    self._close(image, name, out, message, "quarantined")
                else:
                    self._ready(image)

    def _open_image(self, number: int, state: ImageState | None = None) -> OpenImage:
        image = OpenImage(
            number,
            self._records[number],
            self._rule,
            self._n_classes,
            traced=number in self._traced,
            keep_raw=self._keep_all_raw,
            backlog=self._backlog,
            cost=self._cost,
            state=state,
            candidates=self._candidates(number),
            offset=self._offset(self._records[number].image_id),
        )
        self._open[number] = image
        return image

    def _ready(self, image: OpenImage) -> None:
        """List the image where its owner, or anyone, will find its queued work."""
        if image.strikes:
            if image.queue and image.trial is None and image.number not in self._suspects:
                self._suspects.append(image.number)
            return
        if image.owner not in self._workers:
            image.owner = None
        self._queues.add(image)

    # ---- handing out work

    def _serve(self, out: list[Instruction]) -> None:
        workers = self._workers
        while self._suspects and (name := workers.free_for_trial()) is not None:
            self._try_alone(name, out)
        while (self._queues or self.n_unopened) and (name := workers.first_waiting) is not None:
            if self._suspects and workers.set_aside(name, len(self._suspects)):
                continue
            self._assign(name, self._fill(name, out), out)
        # An idle worker guesses ahead; one that has work waits for real work.
        while self._queues.can_guess and (name := workers.first_idle) is not None:
            items = self._queues.guess(self._rows(name))
            if not items:
                break
            self._assign(name, items, out)
        if self.finished:
            out += [Release(name) for name in workers.dismiss()]

    def _assign(self, name: str, items: list[WorkItem], out: list[Instruction]) -> None:
        """Answer a request of a worker; without items it continues to wait."""
        if not items:
            return
        micro_batch = MicroBatch(next(self._ids), tuple(items))
        first = self._open[items[0].image]
        if first.strikes:
            first.trial = micro_batch.id
        self._workers.sent(name, micro_batch, alone=first.strikes > 0)
        out.append(Assign(name, micro_batch))

    def _fill(self, name: str, out: list[Instruction]) -> list[WorkItem]:
        room, cost = self._room(name), self._cost
        items = self._queues.take(name, room)
        room -= cost.of(items)
        while room >= cost.least and self._adopt(name, out):
            more = self._queues.take(name, room)
            items += more
            room -= cost.of(more)
        if room >= cost.least:
            items += self._queues.steal(room)
        if items:
            # A full batch costs the same as a part-filled one.
            items += self._queues.guess(-cost.of(items) % self._rows(name))
        return items

    def _try_alone(self, name: str, out: list[Instruction]) -> None:
        """Send one image over which a worker died alone, so that the next death identifies it."""
        image = self._open.get(self._suspects.popleft())
        if image is not None:
            self._assign(name, image.take(self._room(name)), out)

    def _rows(self, name: str) -> int:
        """Return the evaluations of one full batch of a worker, at least those of one score."""
        return max(self._cost.least, self._workers[name].batch_size)

    def _room(self, name: str) -> int:
        """Return how many evaluations to send: enough for a low scheduler load, less near the end.

        One micro-batch lasts so long that all workers together send ANSWERS_PER_SECOND at most, and
        at least 0.1 s; near the end no worker takes more than a quarter of its share of the rest.
        """
        worker, workers = self._workers[name], len(self._workers)
        speed = worker.rows_per_second or self._workers.speed / workers
        share = self._evaluations_left / (4 * workers)
        rows = min(speed * max(0.1, workers / ANSWERS_PER_SECOND), share)
        batches = max(1, int(rows / worker.batch_size))
        return max(self._cost.least, batches * worker.batch_size)

    def _adopt(self, name: str, out: list[Instruction]) -> bool:
        """Give the worker one more image of its own: one without owner, else a new one."""
        if self._queues.adopt(name) is not None:
            return True
        while self._next < len(self._images):
            image = self._open_image(self._images[self._next])
            self._next += 1
            if image.elimination.outcome is None:
                image.owner = name
                self._queues.add(image)
                return True
            self._close(image, name, out)  # it had one class to begin with
        return False
