"""MLflow: one run of its own for each evaluation or training, written in the background.

MLflow's import and a new database take seconds, and a server can go away and come back; nothing
here makes the caller wait or fail. The output folder stays the record.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from zsd_ray.spec.config import TrackingConfig
from zsd_ray.spec.identity import leaves
from zsd_ray.spec.secrets import reason, redact
from zsd_ray.storage.retry import is_transient

_MOST_POINTS = 50_000
_POINTS_A_CALL = 1000  # what MLflow takes at most
_FIRST_SLEEP, _LONGEST_SLEEP = 0.5, 5.0
_SERVER_ERROR, _TOO_MANY_REQUESTS = 500, 429

_Point = tuple[str, float, int, int]
"""A metric's name and value, when it was so (ms since 1970), and the step."""


@dataclass(frozen=True)
class _Closing:
    """What `close` was given, and when."""

    metrics: dict[str, float]
    artifacts: dict[str, str | bytes]
    status: str
    stamp: int


@dataclass(frozen=True)
class TrackedRun:
    """Where the tracking went: enough to find it, and to go on with it."""

    uri: str
    experiment: str
    run_id: str


def tracking_uri(setting: str, output_path: str) -> str | None:
    """Return the tracking URI that `tracking.mlflow` means, or None for `off`.

    `auto` is MLFLOW_TRACKING_URI where that is set, else a SQLite file beside the output folder
    (in this folder, where the output is not on this machine).
    """
    if setting == "off":
        return None
    if setting != "auto":
        return setting
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return os.environ["MLFLOW_TRACKING_URI"]
    folder = Path() if "://" in output_path else Path(output_path).parent
    return f"sqlite:///{folder / 'mlflow.db'}"


def start_tracker(
    tracking: TrackingConfig,
    output_path: str,
    record: Mapping[str, Any],
    on_warning: Callable[[str], None],
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> Tracker | None:
    """Start what a `tracking` section asks for, under the name of its output; None for `off`.

    Args:
        record: the whole configuration as plain values (`identity.resolved`): its parameters.
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
        params=dict(leaves(record)),
        tags={"zsd_ray.output": place, **nested, **(tags or {})},
        on_warning=on_warning,
        run_id=run_id,
    )


class Tracker:
    """An MLflow run, written by a thread; every method returns at once, except `close`.

    What a server does not take is kept, and sent again until it does. What it refuses ends the
    tracking, with a warning.

    Args:
        on_warning: told in one line when the server goes away, and when something is lost.
        run_id: of an earlier session, to go on with.
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
        self._experiment = experiment
        self._name = name
        self._params = dict(params)
        self._tags = dict(tags)
        self._on_warning = on_warning
        self._run_id = run_id
        self._close_seconds = close_seconds
        self._failed = False
        self._started = threading.Event()
        self._points: deque[_Point] = deque()
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
            self._points.extend((key, value, stamp, step) for key, value in metrics.items())
            self._news.set()

    def run_id(self) -> str | None:
        """Wait until MLflow has given the run an id; None where it does not soon."""
        self._started.wait(self._close_seconds)
        return None if self._failed else self._run_id

    def close(
        self,
        metrics: Mapping[str, float],
        artifacts: Mapping[str, str | bytes],
        status: Literal["FINISHED", "FAILED", "KILLED"],
    ) -> TrackedRun | None:
        """Log final metrics and artifacts (text, or any file), end the run, and wait for all of it.

        Returns None where MLflow has no such run; `on_warning` was told why.
        """
        self._closing = _Closing(dict(metrics), dict(artifacts), status, _now())
        self._news.set()
        self._thread.join(self._close_seconds)
        if self._thread.is_alive():
            self._abandoned.set()
            self._on_warning(
                f"MLflow at {redact(self._uri)} did not take everything in "
                f"{self._close_seconds:.0f} s; the output folder has it"
            )
        if self._failed or self._run_id is None:
            return None
        return TrackedRun(redact(self._uri), self._experiment, self._run_id)

    def _work(self) -> None:
        try:
            self._insist(self._start)
            self._started.set()
            last_step = 0
            while self._closing is None or self._points:
                self._news.wait()
                self._news.clear()
                while points := self._take():
                    self._insist(partial(self._log, points))
                    last_step = points[-1][-1]
            self._insist(partial(self._finish, self._closing, last_step))
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises, the run goes on
            self._failed = True
            self._started.set()
            self._points.clear()
            if not self._abandoned.is_set():
                kind = type(error).__name__
                self._on_warning(f"MLflow tracking stopped ({kind}: {reason(error)})")

    def _take(self) -> list[_Point]:
        n_points = min(len(self._points), _POINTS_A_CALL)
        return [self._points.popleft() for _ in range(n_points)]

    def _insist(self, call: Callable[[], None]) -> None:
        """Call until the server takes it; raises what it refuses. A call may run several times."""
        sleep, away = _FIRST_SLEEP, False
        while True:
            try:
                return call()
            except Exception as error:
                if self._abandoned.is_set() or not self._may_pass(error):
                    raise
                if not away:
                    away = True
                    self._on_warning(
                        f"MLflow at {redact(self._uri)} does not answer ({reason(error)}); the run "
                        "goes on, and what is to be logged waits"
                    )
            self._abandoned.wait(sleep)
            sleep = min(2 * sleep, _LONGEST_SLEEP)

    def _may_pass(self, error: Exception) -> bool:
        """Whether the server may take the same call later."""
        if self._uri.startswith(("sqlite:", "file:")):
            return False
        import requests
        from mlflow.exceptions import InvalidUrlException, MlflowException

        if isinstance(error, InvalidUrlException):
            return False
        status: int | None = None
        if isinstance(error, MlflowException):
            status = error.get_http_status_code()  # 500 where there was no connection
        elif isinstance(error, requests.HTTPError) and error.response is not None:
            status = error.response.status_code
        elif isinstance(error, requests.ConnectionError | requests.Timeout):
            return True
        if status is None:
            return is_transient(error)
        return status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS

    def _start(self) -> None:
        # `_insist` asks again, and a call should not be held for minutes meanwhile.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # we print it
        import logging

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException

        artifacts = None
        if self._uri.startswith("sqlite:///"):
            folder = Path(self._uri.removeprefix("sqlite:///")).resolve().parent
            folder.mkdir(parents=True, exist_ok=True)
            artifacts = (folder / "mlartifacts").as_uri()
        self._client = MlflowClient(self._uri)
        found = self._client.get_experiment_by_name(self._experiment)
        experiment_id = (
            found.experiment_id
            if found
            else self._client.create_experiment(self._experiment, artifact_location=artifacts)
        )
        known: dict[str, str] = {}
        try:
            if self._run_id is not None:
                known = self._client.get_run(self._run_id).data.params
                self._client.update_run(self._run_id, status="RUNNING")
        except MlflowException as error:
            if self._may_pass(error):
                raise
            self._run_id = None  # another server than last time: a run of its own there
        if self._run_id is None:
            run = self._client.create_run(experiment_id, run_name=self._name)
            self._run_id = run.info.run_id
        params = {key: str(value)[:6000] for key, value in self._params.items()}
        # MLflow refuses to change a param; what an earlier session had otherwise becomes a tag.
        changed = {k: v for k, v in params.items() if k in known and known[k] != v}
        tags = self._tags | {f"resumed.{key}": value for key, value in changed.items()}
        self._client.log_batch(
            self._run_id,
            params=[Param(key, value) for key, value in params.items() if key not in known],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def _log(self, points: list[_Point]) -> None:
        from mlflow.entities import Metric

        self._client.log_batch(self._run_id, metrics=[Metric(*point) for point in points])

    def _finish(self, closing: _Closing, last_step: int) -> None:
        self._log(
            [(key, value, closing.stamp, last_step) for key, value in closing.metrics.items()]
        )
        for name, content in closing.artifacts.items():
            if isinstance(content, str):
                self._client.log_text(self._run_id, content, name)
                continue
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, name)
                file.write_bytes(content)
                self._client.log_artifact(self._run_id, str(file))
        self._client.set_terminated(self._run_id, closing.status)


def _now() -> int:
    return int(time.time() * 1000)
