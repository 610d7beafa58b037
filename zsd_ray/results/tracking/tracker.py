"""MLflow tracking: one run for each evaluation or training, written in the background.

MLflow's import and a new database take seconds, and a server can go away and come back; nothing
here makes the caller wait or fail. The output folder stays the record.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from zsd_ray.config.run import TrackingConfig
from zsd_ray.records.redaction import reason, redact
from zsd_ray.results.tracking.mlflow_file import BrokenFileError
from zsd_ray.results.tracking.mlflow_names import LONGEST_EXPERIMENT, fit_value
from zsd_ray.results.tracking.mlflow_run import MlflowRun, Point, Status, may_pass

_MOST_POINTS = 50_000
_POINTS_A_CALL = 1000  # what MLflow takes at most
_FIRST_SLEEP, _LONGEST_SLEEP = 0.5, 5.0


@dataclass(frozen=True)
class _Closing:
    """The arguments of `close`, and the time of the call."""

    metrics: dict[str, float]
    artifacts: dict[str, str | bytes]
    status: Status
    stamp: int


@dataclass(frozen=True)
class TrackedRun:
    """The place of a tracked run: enough to find it, and to resume it."""

    uri: str
    experiment: str
    run_id: str


def tracking_uri(setting: str, output_path: str) -> str | None:
    """Return the tracking URI that `tracking.mlflow` means, or None for `off`.

    `auto` is MLFLOW_TRACKING_URI if that is set, else a SQLite file beside the output folder
    (in this folder, where the output is not on this machine, or below one that no such URI names).
    """
    if setting == "off":
        return None
    if setting != "auto":
        return setting
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return os.environ["MLFLOW_TRACKING_URI"]
    folder = Path(output_path).parent
    if "://" in output_path or "?" in str(folder):
        folder = Path()
    return f"sqlite:///{folder / 'mlflow.db'}"


def tracked_before(
    tracking: TrackingConfig, output_path: str, run_id: str | None
) -> TrackedRun | None:
    """Return the tracked run of an earlier session that finished the job; MLflow is not asked.

    Calling a finished job again leaves its run in MLflow unchanged, with the end of the work.
    """
    uri = tracking_uri(tracking.mlflow, output_path)
    if uri is None or run_id is None:
        return None
    return TrackedRun(redact(uri), fit_value(tracking.experiment, LONGEST_EXPERIMENT), run_id)


def start_tracker(
    tracking: TrackingConfig,
    output_path: str,
    params: Mapping[str, Any],
    on_warning: Callable[[str], None],
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> Tracker | None:
    """Start the tracker of a `tracking` section, named after the output; None for `off`.

    Args:
        params: the whole configuration (`identity.settings`).
        tags, run_id: as for `Tracker`; the output is a tag in any case.
    """
    uri = tracking_uri(tracking.mlflow, output_path)
    if uri is None:
        return None
    place = redact(output_path)
    nested = {} if tracking.parent is None else {"mlflow.parentRunId": tracking.parent}
    return Tracker(
        uri,
        tracking.experiment,
        name=place.rstrip("/").rpartition("/")[2],
        params=params,
        tags={"zsd_ray.output": place, **nested, **(tags or {})},
        on_warning=on_warning,
        run_id=run_id,
    )


class Tracker:
    """An MLflow run, written by a thread; every method returns at once, except `close`.

    Calls that a server does not accept now are kept and retried. A call that it refuses ends the
    tracking, with a warning.

    Args:
        on_warning: called with one line when the server goes away, and when something is lost.
        run_id: of an earlier session, to resume.
        close_seconds: how long `close` waits for a server.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        on_warning: Callable[[str], None],
        run_id: str | None = None,
        close_seconds: float = 60.0,
    ) -> None:
        self._uri = uri
        self._experiment = fit_value(experiment, LONGEST_EXPERIMENT)
        self._run = MlflowRun(uri, self._experiment, name, params, tags, run_id)
        self._on_warning = on_warning
        self._close_seconds = close_seconds
        self._failed = False
        self._started = threading.Event()
        self._points: deque[Point] = deque()
        self._news = threading.Event()
        self._closing: _Closing | None = None
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics at `step`, stamped now; dropped where very many are waiting already."""
        # Full: a curve with fewer points; the totals are logged by close.
        if len(self._points) < _MOST_POINTS and not self._failed:
            stamp = _now()
            self._points.extend((key, float(value), stamp, step) for key, value in metrics.items())
            self._news.set()

    def run_id(self) -> str | None:
        """Wait until MLflow has given the run an id; None if it does not soon."""
        self._started.wait(self._close_seconds)
        return None if self._failed else self._run.id

    def close(
        self,
        metrics: Mapping[str, float],
        artifacts: Mapping[str, str | bytes],
        status: Status,
        ended: datetime | None = None,
    ) -> TrackedRun | None:
        """Log final metrics and artifacts (text, or any file), end the run, and wait for all of it.

        Args:
            ended: end of the work; None: now.

        Returns None if MLflow has no such run; `on_warning` was called with the reason.
        """
        self._closing = _Closing(
            dict(metrics),
            dict(artifacts),
            status,
            _now() if ended is None else int(ended.timestamp() * 1000),
        )
        self._news.set()
        self._thread.join(self._close_seconds)
        if self._thread.is_alive():
            self._abandoned.set()
            self._on_warning(
                f"MLflow at {redact(self._uri)} did not take everything in "
                f"{self._close_seconds:.0f} s; the output folder has it"
            )
        if self._failed or self._run.id is None:
            return None
        return TrackedRun(redact(self._uri), self._experiment, self._run.id)

    def _work(self) -> None:
        try:
            self._insist(partial(self._run.start, self._abandoned))
            self._started.set()
            last_step = 0
            while self._closing is None or self._points:
                self._news.wait()
                self._news.clear()
                while points := self._take():
                    self._insist(partial(self._run.log, points))
                    last_step = points[-1][-1]
            self._insist(partial(self._finish, self._closing, last_step))
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises, the run continues
            self._failed = True
            self._started.set()
            self._points.clear()
            if not self._abandoned.is_set():
                self._on_warning(self._why_it_stopped(error))

    def _why_it_stopped(self, error: Exception) -> str:
        kind, why = type(error).__name__, reason(error, self._uri)
        if isinstance(error, BrokenFileError):
            return f"MLflow tracking stopped: {redact(str(error))}"
        return f"MLflow tracking stopped ({kind if kind == why else f'{kind}: {why}'})"

    def _finish(self, closing: _Closing, last_step: int) -> None:
        totals = [(key, value, closing.stamp, last_step) for key, value in closing.metrics.items()]
        self._run.finish(totals, closing.artifacts, closing.status, closing.stamp)

    def _take(self) -> list[Point]:
        n_points = min(len(self._points), _POINTS_A_CALL)
        return [self._points.popleft() for _ in range(n_points)]

    def _insist(self, call: Callable[[], None]) -> None:
        """Retry a call until the server accepts it; raises if the server refuses it."""
        sleep, away = _FIRST_SLEEP, False
        while True:
            try:
                return call()
            except Exception as error:
                if self._abandoned.is_set() or not may_pass(error, self._uri):
                    raise
                if not away:
                    away = True
                    self._on_warning(
                        f"MLflow at {redact(self._uri)} does not answer "
                        f"({reason(error, self._uri)}); the run "
                        "continues, and what is to be logged waits"
                    )
            self._abandoned.wait(sleep)
            sleep = min(2 * sleep, _LONGEST_SLEEP)


def _now() -> int:
    return int(time.time() * 1000)
