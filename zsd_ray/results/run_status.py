"""The status of a run, from its output: for any shell that reaches the output."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.heartbeat import (
    BEAT_SECONDS,
    SILENT_SECONDS,
    Heartbeat,
    beats,
    may_live,
    read_heartbeat,
)
from zsd_ray.results.output import Output
from zsd_ray.results.run_file import RunFile
from zsd_ray.storage.filesystem import list_folder
from zsd_ray.storage.store import Store

_LOOK_SECONDS = 8  # more than one beat


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The status of a run. Values that are unknown, or no longer true, are None.

    n_decided: images with a row, n_errors of them without a prediction.
    silent: it should be running, but wrote no heartbeat for a minute.
    Rates are those of the last seconds of a running run, and of the whole of one that has ended.
    """

    output: str
    status: str
    silent: bool
    n_images: int
    n_decided: int
    n_errors: int
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    n_workers: int | None = None
    evaluations_per_second: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    started: str
    ended: str | None
    last_heard: str | None
    seconds_since: float | None
    host: str | None
    pid: int | None
    session: str | None
    report: str | None


def read_status(
    path: str,
    store: Store,
    now: datetime | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> RunStatus:
    """Read the status of the run at `path`, or of a stage before it while it has not begun.

    A run whose last beat is old, or not written yet by our clock, is watched for some seconds.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    output = Output(path, store)
    run = output.read_run()
    if run is None:
        before = _stages(path, store)
        if not before:
            raise UserError(
                f"there is no run at {redact(path)} (no run.json); give the output.path of a run"
            )
        return read_status(output.location(before[-1]), store, now, sleep)
    beat = read_heartbeat(path, store)
    now = now or datetime.now(UTC)
    since = beat.age(now) if beat else None
    running = run.status == "running"
    silent = running and beat is not None and _is_silent(path, store, beat, now, sleep)
    if running and not silent and since is not None and since >= SILENT_SECONDS:
        beat, since = read_heartbeat(path, store) or beat, 0.0  # its clock is behind ours
    return RunStatus(
        output=redact(path),
        status=run.status,
        silent=silent,
        started=run.started,
        ended=run.ended,
        last_heard=beat.at if beat else None,
        seconds_since=round(since, 1) if since is not None else None,
        host=beat.host if beat else None,
        pid=beat.pid if beat else None,
        session=beat.session if beat else None,
        report=redact(output.location("report.html")) if run.ended else None,
        **(_of_beat(run, beat, silent) if running else _of_record(run)),
    )


def _is_silent(
    path: str, store: Store, beat: Heartbeat, now: datetime, sleep: Callable[[float], None]
) -> bool:
    """Return whether a run that should be running writes no heartbeats.

    Its clock is another machine's, so an impossible age is checked by watching.
    """
    age = (now - datetime.fromisoformat(beat.at)).total_seconds()
    if -BEAT_SECONDS <= age < SILENT_SECONDS:
        return False
    return not may_live(beat) or not beats(path, store, beat, _LOOK_SECONDS, sleep)


def _stages(path: str, store: Store) -> list[str]:
    """Return the stages, runs of their own, in a run's output, in order (screen, audit)."""
    fs, root = store.open(path)
    found = store.ask(path, lambda: list_folder(fs, root.rstrip("/")))
    names = [posixpath.basename(entry.rstrip("/")) for entry in found]
    levels = [name for name in names if name.startswith("tree-")]
    order = [*sorted(levels, key=lambda name: (len(name), name)), "audit"]
    return [name for name in order if name in names]


def _of_beat(run: RunFile, beat: Heartbeat | None, silent: bool) -> dict[str, Any]:
    """Return the figures of a run that has not ended."""
    if beat is None:
        return {"n_images": run.n_images, "n_decided": run.n_done, "n_errors": 0}
    progress = beat.progress
    figures: dict[str, Any] = {
        "n_images": progress.n_images,
        "n_decided": progress.n_decided,
        "n_errors": progress.n_errors,
    }
    if progress.accuracy is not None:
        low, high = progress.interval
        figures |= {"accuracy": progress.accuracy, "accuracy_low": low, "accuracy_high": high}
    if silent:
        return figures
    return figures | {
        "n_workers": progress.n_workers,
        "evaluations_per_second": progress.evaluations_per_second,
        "images_per_second": progress.images_per_second,
        "seconds_left": progress.seconds_left,
    }


def _of_record(run: RunFile) -> dict[str, Any]:
    """Return the figures of a run that has ended."""
    totals = run.totals
    seconds = totals.get("seconds", 0.0) - totals.get("stage_seconds", 0.0)
    return {
        "n_images": run.n_images,
        "n_decided": totals.get("images", run.n_done),
        "n_errors": totals.get("errors", 0),
        "accuracy": totals.get("accuracy"),
        "accuracy_low": totals.get("accuracy_low"),
        "accuracy_high": totals.get("accuracy_high"),
        "evaluations_per_second": totals.get("evaluations_per_second"),
        "images_per_second": totals.get("images", run.n_done) / seconds if seconds > 0 else None,
    }
