"""One session of a training: what surrounds the loop, from its record to MLflow."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from zsd_ray.config.identity import resolved, settings
from zsd_ray.config.training import TrainConfig
from zsd_ray.records.errors import DamagedFile
from zsd_ray.records.redaction import redacted
from zsd_ray.results.output import Output
from zsd_ray.results.tracking.tracker import TrackedRun, Tracker, start_tracker, tracked_before
from zsd_ray.storage.store import Store
from zsd_ray.training import process as work
from zsd_ray.training.news import Grid, News, Steps

OnProgress = Callable[[Steps, float], None]
"""Called with the last steps, and images/s of this session."""
Execute = Callable[[TrainConfig, Callable[[News], None]], None]
"""Trains to the end, in this process (`work.train_here`) or elsewhere, and passes on its news."""

_CHECK_SECONDS = 10.0
_PACKAGES = ("zsd-ray", "ray", "torch", "diffusers", "transformers", "timm", "open_clip_torch")
RECORD = "train.json"


@dataclass(frozen=True)
class TrainResult:
    """Where the model lies, how long this session took, and where MLflow has its curves."""

    model: str
    output: str
    seconds: float
    tracked: TrackedRun | None


def train(
    config: TrainConfig,
    execute: Execute,
    on_progress: OnProgress,
    on_warning: Callable[[str], None],
) -> TrainResult:
    """Train the model that `config` describes, or go on with an interrupted training of it.

    Raises:
        UserError: bad input; nothing was started.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    # A mistyped endpoint should not be waited for as an outage is.
    store = Store(config.storage)
    with store.impatient(_CHECK_SECONDS):
        identity = work.check(config, store)
    session = _Session(config, store, identity, on_progress, on_warning)
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    try:
        execute(config, session.take)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        result = session.close(status)
    return result


class _Session:
    """Keeps train.json, progress and MLflow of one call of `train`."""

    def __init__(
        self,
        config: TrainConfig,
        store: Store,
        identity: str,
        on_progress: OnProgress,
        on_warning: Callable[[str], None],
    ) -> None:
        self._config = config
        self._identity = identity
        self._on_progress = on_progress
        self._on_warning = on_warning
        self._output = Output(config.output.path, store)
        self._start = time.monotonic()
        self._first: float | None = None
        self._n_images = self._n_steps = 0
        self._grids: dict[str, str | bytes] = {}
        earlier = self._output.read_json(RECORD)
        self._was_finished = earlier is not None and earlier.get("status") == "finished"
        self._run_id = None if earlier is None else earlier.get("mlflow_run_id")
        if not isinstance(self._run_id, str | None):
            shown = self._output.shown(RECORD)
            raise DamagedFile(shown, "mlflow_run_id is no text", "mend or remove it")
        self._write("running")
        self._tracker: Tracker | None = None

    def take(self, news: News) -> None:
        """Pass news on to the caller and to MLflow."""
        if isinstance(news, Grid):
            self._grids[news.name.replace("/", "-")] = news.png
            return
        now = time.monotonic()
        speed = 0.0
        if self._first is None:
            self._first = now  # what came before is the start
        else:
            self._n_images += news.n_images
            speed = self._n_images / (now - self._first) if now > self._first else 0.0
        self._n_steps += len(news.losses)
        self._start_tracker()
        if self._tracker is not None:
            first = news.done - len(news.losses) + 1
            for step, loss in enumerate(news.losses, first):
                self._tracker.log({f"{news.stage}_loss": loss}, step=step)
        self._on_progress(news, speed)

    def close(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> TrainResult:
        seconds = time.monotonic() - self._start
        config = self._config
        if self._was_finished and status == "FINISHED" and not self._n_steps:
            tracked = tracked_before(config.tracking, config.output.path, self._run_id)
        else:
            tracked = self._close_tracker(seconds, status)
        if tracked is not None:
            self._run_id = tracked.run_id
        self._write(status.lower())
        place = redacted(self._output.path)
        return TrainResult(redacted(self._output.location("model")), place, seconds, tracked)

    def _close_tracker(
        self, seconds: float, status: Literal["FINISHED", "FAILED", "KILLED"]
    ) -> TrackedRun | None:
        self._start_tracker()
        if self._tracker is None:
            return None
        totals = {"seconds": seconds, "steps": self._n_steps}
        return self._tracker.close(totals, self._grids, status)

    def _write(self, status: str) -> None:
        record = {
            "status": status,
            "config": resolved(self._config),
            "identity": self._identity,
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in _PACKAGES},
            "mlflow_run_id": self._run_id,
        }
        self._output.write_bytes(RECORD, (json.dumps(record, indent=2) + "\n").encode())

    def _start_tracker(self) -> None:
        """Not before there is something to tell: MLflow's import would slow the start."""
        config = self._config
        if self._tracker is None:
            self._tracker = start_tracker(
                config.tracking,
                config.output.path,
                settings(config),
                self._on_warning,
                run_id=self._run_id,
            )
