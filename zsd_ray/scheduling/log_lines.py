"""The lines of an event log as plain values: JSON, with arrays in base64; none is executed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter

from zsd_ray.records.cost import Cost
from zsd_ray.records.draw_table import Draws
from zsd_ray.records.scores import (
    Candidates,
    ImageFailure,
    ImageRecord,
    ImageState,
    MicroBatchScores,
)
from zsd_ray.rules.table import PruningConfig
from zsd_ray.scheduling.beginning import Beginning
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.events import (
    Event,
    ScoresArrived,
    WorkerJoined,
    WorkerLost,
    WorkRequested,
)
from zsd_ray.settings.section import SAVED

VERSION = 1

_PRUNING: TypeAdapter[Any] = TypeAdapter(PruningConfig)
_FLOAT32, _FLOAT64, _INT32 = "<f4", "<f8", "<i4"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Joined(_Line):
    line: Literal["joined"]
    worker: str
    batch_size: PositiveInt

    @property
    def event(self) -> Event:
        return WorkerJoined(self.worker, self.batch_size)


class _Lost(_Line):
    line: Literal["lost"]
    worker: str
    blame: bool

    @property
    def event(self) -> Event:
        return WorkerLost(self.worker, self.blame)


class _Requested(_Line):
    line: Literal["requested"]
    worker: str

    @property
    def event(self) -> Event:
        return WorkRequested(self.worker)


class _Scores(_Line):
    line: Literal["scores"]
    worker: str
    id: NonNegativeInt
    errors: str
    draws: str
    failures: dict[int, tuple[str, bool]]
    n_evaluations: dict[int, NonNegativeInt]
    n_rows: NonNegativeInt
    seconds: float

    @property
    def event(self) -> Event:
        scores = MicroBatchScores(
            id=self.id,
            errors=_array(self.errors, _FLOAT32),
            draws=_array(self.draws, _FLOAT64).reshape(-1, 4),
            failures={place: ImageFailure(*failure) for place, failure in self.failures.items()},
            n_rows=self.n_rows,
            seconds=self.seconds,
            n_evaluations=self.n_evaluations,
        )
        return ScoresArrived(self.worker, scores)


class Answer(_Line):
    """The digest of the instructions after the event before."""

    line: Literal["answer"]
    digest: str = Field(pattern="^[0-9a-f]{16}$")


class _State(_Line):
    n_draws: NonNegativeInt
    survivors: str
    draws: str
    errors: str
    table: str
    removed: str
    n_spent: NonNegativeInt
    seconds: float
    n_counted: NonNegativeInt

    def state(self, image_id: str) -> ImageState:
        survivors = _array(self.survivors, _INT32)
        return ImageState(
            image_id=image_id,
            n_draws=self.n_draws,
            survivors=survivors,
            draws=_array(self.draws, _INT32),
            errors=_array(self.errors, _FLOAT32).reshape(-1, len(survivors)),
            drawn=Draws(_array(self.table, _FLOAT64).reshape(-1, 4)),
            removed=_array(self.removed, _FLOAT32),
            n_spent=self.n_spent,
            seconds=self.seconds,
            n_counted=self.n_counted,
        )


class _Image(_Line):
    id: str
    label: int | None
    group: str | None = None
    candidates: tuple[str, int | None, bool] | None = None
    offset: int | None = None  # which of `offsets`
    state: _State | None = None


class Begin(_Line):
    """The first line."""

    line: Literal["begin"]
    version: Literal[1]
    images: list[int]
    of: dict[int, _Image]
    pruning: dict[str, Any]
    n_racing: PositiveInt
    n_classes: PositiveInt
    cost: Cost
    traced: list[int]
    keep_all_raw: bool
    first_id: NonNegativeInt
    classes_each: float | None
    offsets: list[str]
    counters: Counters

    @property
    def beginning(self) -> Beginning:
        """Return the initial state; raises ValueError, KeyError or TypeError if inconsistent."""
        images = self.of
        if absent := [number for number in self.images if number not in images]:
            raise ValueError(f"nothing is said of image {absent[0]}")
        offsets = [_array(offset, _FLOAT64) for offset in self.offsets]
        offset_of = {i.id: offsets[i.offset] for i in images.values() if i.offset is not None}
        states = {n: i.state.state(i.id) for n, i in images.items() if i.state is not None}
        return Beginning(
            records={n: ImageRecord(i.id, "", i.label, i.group) for n, i in images.items()},
            images=self.images,
            pruning=_PRUNING.validate_python(self.pruning, context={SAVED: True}),
            n_racing=self.n_racing,
            n_classes=self.n_classes,
            cost=self.cost,
            traced=frozenset(self.traced),
            keep_all_raw=self.keep_all_raw,
            states=states,
            first_id=self.first_id,
            candidates=lambda number: _candidates(images[number]),
            classes_each=self.classes_each,
            offset=offset_of.get,
            counters=self.counters,
        )


Line = Begin | Answer | _Joined | _Lost | _Requested | _Scores

LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="line")])


def of_beginning(beginning: Beginning) -> dict[str, Any]:
    """Return the line that `Begin` reads, without the sources of images."""
    offsets: dict[str, int] = {}
    images = {}
    for number in (*beginning.states, *beginning.images):
        record = beginning.records[number]
        image: dict[str, Any] = {"id": record.image_id, "label": record.label}
        if record.group is not None:
            image["group"] = record.group
        candidates = beginning.candidates(number)
        if candidates is not None:
            known = _text(candidates.classes, _INT32), candidates.n_evaluations
            image["candidates"] = (*known, candidates.screened)
        offset = beginning.offset(record.image_id)
        if offset is not None:
            image["offset"] = offsets.setdefault(_text(offset, _FLOAT64), len(offsets))
        if number in beginning.states:
            image["state"] = _of_state(beginning.states[number])
        images[int(number)] = image
    return {
        "line": "begin",
        "version": VERSION,
        "images": [int(number) for number in beginning.images],
        "of": images,
        "pruning": beginning.pruning.model_dump(mode="json"),
        "n_racing": beginning.n_racing,
        "n_classes": beginning.n_classes,
        "cost": asdict(beginning.cost),
        "traced": sorted(beginning.traced),
        "keep_all_raw": beginning.keep_all_raw,
        "first_id": beginning.first_id,
        "classes_each": beginning.classes_each,
        "offsets": list(offsets),
        "counters": asdict(beginning.counters),
    }


def of_event(event: Event) -> dict[str, Any]:
    """Return the line of an event."""
    match event:
        case WorkerJoined(worker, batch_size):
            return {"line": "joined", "worker": worker, "batch_size": batch_size}
        case WorkerLost(worker, blame):
            return {"line": "lost", "worker": worker, "blame": blame}
        case WorkRequested(worker):
            return {"line": "requested", "worker": worker}
        case ScoresArrived(worker, scores):
            return {
                "line": "scores",
                "worker": worker,
                "id": scores.id,
                "errors": _text(scores.errors, _FLOAT32),
                "draws": _text(scores.draws, _FLOAT64),
                "failures": {n: (f.message, f.unreadable) for n, f in scores.failures.items()},
                "n_evaluations": {n: int(count) for n, count in scores.n_evaluations.items()},
                "n_rows": int(scores.n_rows),
                "seconds": float(scores.seconds),
            }


def _of_state(state: ImageState) -> Mapping[str, Any]:
    return {
        "n_draws": state.n_draws,
        "survivors": _text(state.survivors, _INT32),
        "draws": _text(state.draws, _INT32),
        "errors": _text(state.errors, _FLOAT32),
        "table": _text(state.drawn.table, _FLOAT64),
        "removed": _text(state.removed, _FLOAT32),
        "n_spent": state.n_spent,
        "seconds": state.seconds,
        "n_counted": state.n_counted,
    }


def _candidates(image: _Image) -> Candidates | None:
    if image.candidates is None:
        return None
    classes, n_evaluations, screened = image.candidates
    return Candidates(_array(classes, _INT32), n_evaluations, screened)


def _text(array: ArrayLike, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()


def _array(text: str, dtype: str) -> NDArray[Any]:
    """Decode an array from base64; raises ValueError."""
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype)
    return raw.astype(raw.dtype.newbyteorder("="))
