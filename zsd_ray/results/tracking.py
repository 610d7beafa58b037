"""MLflow: one run of its own for each evaluation or training, written in the background.

MLflow's import and a new database take seconds, and a server can be away; nothing here makes the
caller wait or fail. The output folder stays the record.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zsd_ray.spec.secrets import redact

_CLOSE_SECONDS = 60.0


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


class Tracker:
    """A queue in front of an MLflow run; every method returns at once, except `close`."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        on_warning: Callable[[str], None],
        run_id: str | None = None,
    ) -> None:
        self._uri = uri
        self._experiment = experiment
        self._name = name
        self._params = dict(params)
        self._tags = dict(tags)
        self._on_warning = on_warning
        self._run_id = run_id
        self._failed = False
        self._queue: queue.Queue[tuple[Any, ...] | None] = queue.Queue(maxsize=10_000)
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics at `step`, stamped now; dropped where 10,000 are waiting already."""
        # Full: a curve with fewer points; the totals are logged by close.
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(("metrics", dict(metrics), step, int(time.time() * 1000)))

    def close(
        self,
        metrics: Mapping[str, float],
        artifacts: Mapping[str, str],
        status: Literal["FINISHED", "FAILED", "KILLED"],
    ) -> TrackedRun | None:
        """Log final metrics and text artifacts, end the run, and wait for all of it.

        Returns None where MLflow did not take it; `on_warning` was told why.
        """
        now = int(time.time() * 1000)
        self._queue.put(("metrics", dict(metrics), None, now))
        for name, text in artifacts.items():
            self._queue.put(("artifact", name, text))
        self._queue.put(("end", status))
        self._queue.put(None)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            self._on_warning(f"MLflow at {redact(self._uri)} did not take everything in time")
        if self._failed or self._run_id is None:
            return None
        return TrackedRun(redact(self._uri), self._experiment, self._run_id)

    def _work(self) -> None:
        last_step = 0
        try:
            self._start()
            while (message := self._queue.get()) is not None:
                last_step = self._send(message, last_step)
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises, the run goes on
            self._failed = True
            reason = redact(" ".join(str(error).split()))[:200]
            self._on_warning(f"MLflow tracking stopped ({type(error).__name__}: {reason})")
            while self._queue.get() is not None:  # nobody may wait for room in the queue
                pass

    def _start(self) -> None:
        # A server that is away would otherwise hold each call for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
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
        except MlflowException:  # another server than last time: a run of its own there
            self._run_id = None
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

    def _send(self, message: tuple[Any, ...], last_step: int) -> int:
        from mlflow.entities import Metric

        match message:
            case ("metrics", metrics, step, stamp):
                step = last_step if step is None else step
                self._client.log_batch(
                    self._run_id,
                    metrics=[Metric(key, value, stamp, step) for key, value in metrics.items()],
                )
                return int(step)
            case ("artifact", name, text):
                self._client.log_text(self._run_id, text, name)
            case ("end", status):
                self._client.set_terminated(self._run_id, status)
        return last_step
