"""One session of a run: everything around the classification, from its record to its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from zsd_ray.config.identity import resolved
from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.planning.plan import Plan
from zsd_ray.records.errors import ImageError, StoreError
from zsd_ray.records.redaction import redact, redacted
from zsd_ray.results.audit import read_audit
from zsd_ray.results.heartbeat import Heart
from zsd_ray.results.job import Job, OnWarning
from zsd_ray.results.offset_file import read_offset
from zsd_ray.results.progress import Before, Progress, ProgressMeter
from zsd_ray.results.provenance import now, versions
from zsd_ray.results.record_file import Status
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.totals import per_class_csv, run_metrics
from zsd_ray.results.tracking.tracker import TrackedRun, tracked_before
from zsd_ray.scheduling.counters import Counters

OnProgress = Callable[[Progress], None]

_LOG_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class RunResult:
    """The end of a run.

    table: one row per image (docs/reference/outputs.md), with those of earlier sessions.
    metrics: the totals of run.json: accuracy with its interval, evaluations, rates.
    output, report: paths or URLs; tracked: its MLflow run, None if off or unreachable.
    nothing_to_do: earlier sessions had finished it; this one changed no figure.
    """

    run: RunFile
    table: pa.Table
    output: str
    report: str
    tracked: TrackedRun | None
    nothing_to_do: bool = False

    @property
    def metrics(self) -> Mapping[str, Any]:
        return self.run.totals


class WallTime:
    """Wall time of one call of `run`, and of the stages before the classification.

    Args:
        began: start of the command, by time.monotonic; None: now.
    """

    def __init__(self, began: float | None = None) -> None:
        self._began = time.monotonic() if began is None else began
        self.stages = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Measure the time of a stage (a level of a tree, an audit) inside this context."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.stages += time.monotonic() - start


class Session(Job[RunResult]):
    """Decides the images of one run or of a stage of it: record, heartbeat, progress, report.

    Args:
        local: in this process, without Ray.
    """

    def __init__(
        self,
        plan: Plan,
        local: bool,
        on_progress: OnProgress | None,
        on_warning: OnWarning,
        wall: WallTime | None = None,
    ) -> None:
        previous = plan.previous
        run_id = previous.mlflow_run_id if previous else None
        super().__init__(plan.config, plan.store, on_warning, plan.identity, run_id)
        self._plan = plan
        self._local = local
        self._wall = wall or WallTime()
        self._start_up = self._wall.seconds - self._wall.stages
        self._on_progress = on_progress
        self._logged = 0.0
        self._counters = Counters()
        before = run_metrics(self._kept())
        counts = (before[name] for name in ("images", "errors", "labelled", "correct"))
        self._meter = ProgressMeter(plan.n_images, Before(*counts))
        config = resolved(plan.config)
        self._run = RunFile(
            status="running",
            config=config,
            identity=plan.identity,
            identity_parts=plan.identity_parts,
            classes=list(plan.classes.names),
            versions=versions(),
            seed=plan.config.seed,
            n_images=plan.n_images,
            n_done=before["images"] - before["errors"],
            started=previous.started if previous else now(),
            totals=previous.totals if previous else {},
            mlflow_run_id=run_id,
        )
        plan.output.write_run(self._run)
        self._heart = Heart(plan.output, plan.session, self._read(n_workers=0))

    def _table(self) -> pa.Table:
        return self._plan.output.read_table("decisions", None, len(self._plan.classes.names))

    def _kept(self) -> pa.Table:
        """Return the rows of images that are already decided."""
        table, again = self._table(), pa.array(sorted(self._plan.again), pa.string())
        return table.filter(pc.invert(pc.is_in(table["image_id"], again)))

    def work(self) -> Status:
        """Decide the remaining images, in this process or on Ray."""
        plan = self._plan
        if plan.todo:
            if self._local:
                from zsd_ray.evaluation.local import run_local

                run_local(plan, self.update)
            else:
                from zsd_ray.runtime.driver import run_on_ray

                run_on_ray(plan, self.update, self._on_warning)
        plan.output.remove_checkpoints()
        plan.repairs.remove_orphans(plan.output)
        return "finished"

    def update(self, counters: Counters, n_workers: int) -> None:
        """Report the scheduler's counters to the caller and to MLflow."""
        self._counters = counters
        progress = self._heart.progress = self._read(n_workers)
        if self._on_progress is not None:
            self._on_progress(progress)
        if counters.decided and progress.seconds - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = progress.seconds
            # Not before the first image is decided: MLflow's import would slow the workers' start.
            self.log(_curves(progress), step=progress.n_decided)

    def _read(self, n_workers: int) -> Progress:
        counters = self._counters
        return self._meter.read(
            decided=counters.decided,
            errors=counters.errors,
            labelled=counters.labelled,
            correct=counters.correct,
            n_scored=counters.n_scored,
            n_workers=n_workers,
        )

    def end(self, status: Status) -> RunResult:
        """Write the record, and then the files derived from it."""
        try:
            return self._end(status)
        finally:
            self._heart.stop(self._run.status if self._run.ended else "failed")

    def _end(self, status: Status) -> RunResult:
        from zsd_ray.reports.html import pictures_wanted, render_report

        plan = self._plan
        table = self._table()
        totals = run_metrics(table) | self._costs() | self._audit(table) | self._offset()
        n_done = totals["images"] - totals["errors"]
        if status == "finished" and n_done < plan.n_images:
            status = "incomplete"
        self._run = replace(
            self._run,
            status=status,
            n_done=n_done,
            ended=self._ended(),
            totals=totals,
        )
        # First the record, then the files derived from it.
        plan.output.write_run(self._run)
        traces = plan.output.read_table("traces", None, len(plan.classes.names))
        pictures = _pictures(plan, set(pictures_wanted(table, traces)))
        page = render_report(self._run, table, traces, pictures, read_offset(plan.output))
        plan.output.write_bytes("report.html", page.encode())
        of_classes = per_class_csv(table, plan.classes.names)
        plan.output.write_bytes("per_class.csv", of_classes.encode())
        tracked = self._close_mlflow(page, of_classes)
        if tracked is not None:
            self._run = replace(self._run, mlflow_run_id=tracked.run_id)
            plan.output.write_run(self._run)
        report = plan.output.location("report.html")
        return RunResult(self._run, table, redacted(plan.output.path), redacted(report), tracked)

    def _costs(self) -> dict[str, float]:
        """Return time and network rows, summed over the sessions of this run."""
        counters, before = self._counters, self._run.totals
        worked, stages, start_up = 0.0, 0.0, 0.0
        if self._worked:
            worked, stages = self._wall.seconds, self._wall.stages
            start_up = self._start_up + (self._meter.seconds_to_first_score or 0.0)
        seconds = worked + before.get("seconds", 0.0)
        stages += before.get("stage_seconds", 0.0)
        n_rows = counters.n_rows + before.get("n_rows", 0)
        n_scored = counters.n_scored + before.get("n_scored", 0)
        own = seconds - stages
        costs = {
            "seconds": round(seconds, 3),
            "startup_seconds": round(start_up + before.get("startup_seconds", 0.0), 3),
            "n_rows": n_rows,
            "n_scored": n_scored,
            "padding_fraction": 1 - n_scored / n_rows if n_rows else 0.0,
            "evaluations_per_second": n_scored / own if own > 0 else 0.0,
        }
        if stages:
            costs["stage_seconds"] = round(stages, 3)
        first = self._meter.seconds_to_first_score or before.get("seconds_to_first_score")
        return costs | ({"seconds_to_first_score": round(first, 3)} if first else {})

    @property
    def _worked(self) -> bool:
        """Return whether this session did any work; if not, its time is not counted."""
        return bool(self._plan.todo) or self._wall.stages > 0

    def _ended(self) -> str:
        previous = self._plan.previous
        return previous.ended if previous and previous.ended and not self._worked else now()

    def _offset(self) -> dict[str, Any]:
        """Return the cost of measuring the class offset, if there is one."""
        found = read_offset(self._plan.output) if self._plan.has_offset else None
        return {} if found is None else {"offset_evaluations": found.evaluations}

    def _audit(self, table: pa.Table) -> dict[str, Any]:
        """Return the audit's figures on the accuracy lost to the screen, if there is one."""
        config, found = self._plan.config, {}
        apart = self._plan.race.screen_evaluations
        if apart is not None:
            found["other_model_evaluations_per_image"] = apart
        if config.screen is not None and config.screen.audit:
            found |= read_audit(self._plan.output, table)
        return found

    def _close_mlflow(self, page: str, of_classes: str) -> TrackedRun | None:
        import yaml

        totals = self._run.totals.items()
        metrics = {k: float(v) for k, v in totals if v is not None and not isinstance(v, str)}
        config = yaml.safe_dump(self._run.config, sort_keys=False)
        artifacts = {"config.yaml": config, "report.html": page, "per_class.csv": of_classes}
        assert self._run.ended is not None
        ended = None if self._worked else datetime.fromisoformat(self._run.ended)
        return self.close_tracker(self._run.status, metrics, artifacts, ended)


def as_before(plan: Plan) -> RunResult:
    """Return the result of a run with nothing left to do; its record is unchanged.

    The page is made again, so that it exists and is of this version.
    """
    from zsd_ray.reports.html import pictures_wanted, render_report

    assert plan.previous is not None
    run, output = plan.previous, plan.output
    table = output.read_table("decisions", None, len(plan.classes.names))
    traces = output.read_table("traces", None, len(plan.classes.names))
    pictures = _pictures(plan, set(pictures_wanted(table, traces)))
    page = render_report(run, table, traces, pictures, read_offset(output))
    output.write_bytes("report.html", page.encode())
    config = plan.config
    tracked = tracked_before(config.tracking, config.output.path, run.mlflow_run_id)
    report = redact(output.location("report.html"))
    return RunResult(run, table, redact(output.path), report, tracked, nothing_to_do=True)


def _pictures(plan: Plan, wanted: set[str]) -> dict[str, Image.Image]:
    """Return the report's pictures as the model saw them, if they can still be read."""
    pictures = {}
    for number, record in enumerate(plan.records):
        if record.image_id in wanted:
            try:
                pictures[record.image_id] = to_rgb(plan.dataset.read(number))
            except (ImageError, StoreError):
                continue  # the report leaves a blank for it; its row has the error
    return pictures


def _curves(progress: Progress) -> dict[str, float]:
    """Return the curves that MLflow shows over the number of decided images."""
    if progress.accuracy is None:
        return {}
    return {
        "accuracy": progress.accuracy,
        "accuracy_low": progress.interval.low,
        "accuracy_high": progress.interval.high,
        "evaluations_per_second": progress.evaluations_per_second,
        "images_per_second": progress.images_per_second,
    }
