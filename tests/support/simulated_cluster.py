"""Workers that a test plays around a scheduler: they die, come late, answer twice."""

from __future__ import annotations

from dataclasses import replace

from zsd_ray.records.scores import ImageFailure, MicroBatchScores
from zsd_ray.scheduling.events import (
    Assign,
    Decide,
    Release,
    ScoresArrived,
    WorkerJoined,
    WorkerLost,
    WorkRequested,
)


class Cluster:
    """Simulated workers around a scheduler; checks every instruction and every state."""

    def __init__(self, scheduler, pool, batch_size, bad=(), poison=(), away=()):
        self.scheduler = scheduler
        self.pool = pool
        self.bad = bad  # images that cannot be decoded
        self.poison = poison  # images that end the process that scores them
        self.away = away  # images whose store never answers
        self.batch_size = batch_size
        self.decisions = {}
        self.held = {}  # worker -> micro-batches that it holds
        self.open_requests = {}
        self.released = set()
        self.answered = []  # to be answered a second time, perhaps
        self.counted = None  # of an item, what its scores took, where workers count

    def handle(self, event):
        for instruction in self.scheduler.handle(event):
            match instruction:
                case Assign(worker, micro_batch):
                    self.open_requests[worker] -= 1
                    self.held[worker].append(micro_batch)
                    assert micro_batch.items
                case Release(worker):
                    self.open_requests[worker] -= 1
                    self.released.add(worker)
                case Decide(decision):
                    assert decision.image_id not in self.decisions, "decided twice"
                    self.decisions[decision.image_id] = decision
        self.scheduler.validate()

    def join(self, worker):
        self.held[worker] = []
        self.open_requests[worker] = 0
        self.handle(WorkerJoined(worker, self.batch_size))

    def request(self, worker):
        self.open_requests[worker] += 1
        self.handle(WorkRequested(worker))

    def answer(self, worker, index):
        if any(item.image in self.poison for item in self.held[worker][index].items):
            if index == 0:  # a worker computes what it was sent first
                self.lose(worker, blame=True)
            return
        micro_batch = self.held[worker].pop(index)
        scores = self.score(micro_batch)
        self.answered.append((worker, scores))
        self.handle(ScoresArrived(worker, scores))

    def score(self, micro_batch):
        answers = tuple(self.score_item(item) for item in micro_batch.items)
        return MicroBatchScores.pack(micro_batch.id, answers, micro_batch.n_scores, 0.1)

    def score_item(self, item):
        if item.image in self.bad:
            return ImageFailure("truncated file")
        if item.image in self.away:
            return ImageFailure("no answer", unreadable=True)
        answer = self.pool.answer(item)
        return replace(answer, n_evaluations=self.counted(item)) if self.counted else answer

    def restart(self, make):
        """Another scheduler goes on from what this one would have saved."""
        states = {int(state.image_id.split("-")[1]): state for state in self.scheduler.states()}
        decided = {int(name.split("-")[1]) for name in self.decisions}
        first_id = 1 + max((m.id for held in self.held.values() for m in held), default=-1)
        first_id = max(first_id, 1 + max((scores.id for _, scores in self.answered), default=-1))
        self.scheduler = make(
            images=[n for n in range(len(self.pool.truth)) if n not in decided and n not in states],
            states=states,
            first_id=first_id,
        )
        for worker in list(self.held):  # they call again, with what they were busy with
            held, requests = self.held[worker], self.open_requests[worker]
            self.join(worker)
            for micro_batch in held:
                self.handle(ScoresArrived(worker, self.score(micro_batch)))
            for _ in range(requests):
                self.request(worker)

    def lose(self, worker, blame=False):
        for micro_batch in self.held.pop(worker):
            # a late answer of a worker that was given up
            self.answered.append((worker, self.score(micro_batch)))
        del self.open_requests[worker]
        self.handle(WorkerLost(worker, blame))

    def finish(self):
        """Let one worker at a time do what is left."""
        for worker in list(self.held):
            self.lose(worker)
        for step in range(100_000):
            if self.scheduler.finished:
                break
            if not self.held:
                self.join(f"last-{step}")
            (worker,) = self.held
            for _ in range(2 - self.open_requests[worker] - len(self.held[worker])):
                self.request(worker)
            if self.held[worker]:  # not where a screen had left one class of all that were open
                self.answer(worker, 0)
        assert self.scheduler.finished
