"""The scheduler's input events and output instructions; the shells translate both."""

from __future__ import annotations

from dataclasses import dataclass

from zsd_ray.records.scores import Decision, MicroBatch, MicroBatchScores


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker is ready; it scores in batches of `batch_size` rows."""

    worker: str
    batch_size: int


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker is lost, with all micro-batches that it was sent.

    blame: its process died by itself, so its current work may be the reason.
    """

    worker: str
    blame: bool = False


@dataclass(frozen=True, slots=True)
class WorkRequested:
    """A worker has room for one more micro-batch. It is answered once, by Assign or Release."""

    worker: str


@dataclass(frozen=True, slots=True)
class ScoresArrived:
    """A worker answers a micro-batch."""

    worker: str
    scores: MicroBatchScores


Event = WorkerJoined | WorkerLost | WorkRequested | ScoresArrived


@dataclass(frozen=True, slots=True)
class Assign:
    """Answer a request of `worker` with a micro-batch."""

    worker: str
    micro_batch: MicroBatch


@dataclass(frozen=True, slots=True)
class Decide:
    """An image is finished: write it."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Release:
    """Answer a request of `worker`: there will be no more work."""

    worker: str


Instruction = Assign | Decide | Release
