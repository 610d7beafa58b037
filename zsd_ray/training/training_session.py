"""One session of a training: everything around the loop, from its record to MLflow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from zsd_ray.config.identity import resolved
from zsd_ray.config.training import TrainConfig
from zsd_ray.records.errors import DamagedFile
from zsd_ray.records.redaction import redacted
from zsd_ray.results.job import Job, OnWarning, planning
from zsd_ray.results.output import Output
from zsd_ray.results.provenance import versions
from zsd_ray.results.record_file import Status
from zsd_ray.results.tracking.tracker import TrackedRun
from zsd_ray.storage.store import Store
from zsd_ray.training import process as work
from zsd_ray.training.news import Grid, News, Steps

OnProgress = Callable[[Steps, float], None]
"""Called with the last steps, and images/s of this session."""
Execute = Callable[[TrainConfig, Callable[[News], None]], None]
"""Trains to the end, in this process (`work.train_here`) or elsewhere, and passes on its news."""

RECORD = "train.json"


@dataclass(frozen=True)
class TrainResult:
    """The model's place, the duration of this session, and the MLflow run with its curves."""

    model: str
    output: str
    seconds: float
    tracked: TrackedRun | None


def train(
    config: TrainConfig,
    execute: Execute,
    on_progress: OnProgress,
    on_warning: OnWarning,
) -> TrainResult:
    """Train the model that `config` describes, or resume an interrupted training of it.

    Raises:
        UserError: bad input; nothing was started.
        RunBrokenError, StoreError: it cannot continue now; the same call resumes it later.
    """
    with planning(config) as store:
        identity = work.check(config, store)
    return _Training(config, store, identity, execute, on_progress, on_warning).run()


class _Training(Job[TrainResult]):
    """Writes train.json, progress and MLflow for one call of `train`."""

    def __init__(
        self,
        config: TrainConfig,
        store: Store,
        identity: str,
        execute: Execute,
        on_progress: OnProgress,
        on_warning: OnWarning,
    ) -> None:
        output = Output(config.output.path, store)
        earlier = output.read_json(RECORD) or {}
        run_id = earlier.get("mlflow_run_id")
        if not isinstance(run_id, str | None):
            shown = output.shown(RECORD)
            raise DamagedFile(shown, "mlflow_run_id is no text", "mend or remove it")
        super().__init__(config, store, on_warning, identity, run_id)
        self._train_config = config
        self._execute = execute
        self._on_progress = on_progress
        self._first: float | None = None
        self._n_images = self._n_steps = 0
        self._grids: dict[str, str | bytes] = {}
        self._was_finished = earlier.get("status") == "finished"
        self._write("running", run_id)

    def work(self) -> Status:
        self._execute(self._train_config, self._take)
        return "finished"

    def _take(self, news: News) -> None:
        """Report news to the caller and to MLflow."""
        if isinstance(news, Grid):
            self._grids[news.name.replace("/", "-")] = news.png
            return
        now = time.monotonic()
        speed = 0.0
        if self._first is None:
            self._first = now  # the time before is the start-up
        else:
            self._n_images += news.n_images
            speed = self._n_images / (now - self._first) if now > self._first else 0.0
        self._n_steps += len(news.losses)
        first = news.done - len(news.losses) + 1
        for step, loss in enumerate(news.losses, first):
            self.log({f"{news.stage}_loss": loss}, step=step)
        self._on_progress(news, speed)

    def end(self, status: Status) -> TrainResult:
        seconds = self.seconds
        if self._was_finished and status == "finished" and not self._n_steps:
            tracked = self.tracked_before()
        else:
            totals = {"seconds": seconds, "steps": self._n_steps}
            tracked = self.close_tracker(status, totals, self._grids)
        self._write(status, self._run_id if tracked is None else tracked.run_id)
        place = redacted(self.output.path)
        return TrainResult(redacted(self.output.location("model")), place, seconds, tracked)

    def _write(self, status: Status, run_id: str | None) -> None:
        record = {
            "status": status,
            "config": resolved(self._train_config),
            "identity": self._identity,
            "versions": versions(),
            "mlflow_run_id": run_id,
        }
        self.output.write_bytes(RECORD, (json.dumps(record, indent=2) + "\n").encode())
