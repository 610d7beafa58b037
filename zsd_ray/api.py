"""The Python interface: `zsd_ray.run(RunConfig(...))`, what the command line does."""

from __future__ import annotations

import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from PIL import Image

from zsd_ray.engine.counters import Counters
from zsd_ray.engine.plan import Plan, make_plan
from zsd_ray.results.estimate import MIN_PILOT, Bounds, Estimate, estimate
from zsd_ray.results.fresh import free_path
from zsd_ray.results.heartbeat import Heart, refuse_second_driver
from zsd_ray.results.metrics import run_metrics
from zsd_ray.results.progress import Before, Progress, ProgressMeter
from zsd_ray.results.run_file import RunFile, Status
from zsd_ray.results.tracking import TrackedRun, Tracker, tracking_uri
from zsd_ray.spec.config import RunConfig
from zsd_ray.spec.errors import ImageError, StoreError, UserError
from zsd_ray.spec.identity import resolved
from zsd_ray.spec.secrets import redacted
from zsd_ray.storage import filesystem

OnProgress = Callable[[Progress], None]
OnWarning = Callable[[str], None]

_LOG_EVERY_SECONDS = 2.0
_PLAN_SECONDS = 10.0
_MLFLOW_STATUS: dict[Status, Literal["FINISHED", "FAILED", "KILLED"]] = {
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_PACKAGES = ("zsd-ray", "ray", "torch", "diffusers", "transformers", "numpy", "scipy", "mlflow")


@dataclass(frozen=True)
class RunResult:
    """The end of a run.

    table: one row an image (docs/results.md), with those of earlier sessions.
    metrics: the totals of run.json: accuracy with its interval, evaluations, rates.
    output, report: paths or URLs; tracked: where MLflow has it, None where off or away.
    """

    run: RunFile
    table: pa.Table
    output: str
    report: str
    tracked: TrackedRun | None

    @property
    def metrics(self) -> Mapping[str, Any]:
        return self.run.totals


def run(
    config: RunConfig,
    *,
    local: bool = False,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
) -> RunResult:
    """Classify the images that `config` names, or go on with an interrupted run of it.

    Args:
        local: in this process, without Ray.
        on_progress: called a few times a second.
        on_warning: called with one line when something goes wrong that does not stop the run.

    Raises:
        UserError: bad input, or another process is at this run; nothing was started.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
        KeyboardInterrupt: what was decided is written, and the same call goes on.
    """
    # A mistyped endpoint should not be waited for as an outage is.
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    plan = make_plan(config)
    refuse_second_driver(config.output.path, on_warning)
    plan.output.prepare()
    filesystem.configure(config.storage)
    session = _Session(plan, on_progress, on_warning)
    status: Status = "failed"
    try:
        if plan.todo:
            if local:
                from zsd_ray.engine.local import run_local

                run_local(plan, session.update)
            else:
                from zsd_ray.runtime.driver import run_on_ray

                run_on_ray(plan, session.update, on_warning)
        status = "finished"
        plan.output.remove_checkpoints()
    except KeyboardInterrupt:
        status = "interrupted"
        # Somebody waits: what is to be written now is tried, and not waited for.
        filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
        raise
    finally:
        result = session.close(status)
    return result


def in_fresh_place(config: RunConfig) -> RunConfig:
    """The same run, with an output where nothing is yet: output.path, or that with -2, -3, ...

    Raises:
        UserError: the output's store does not answer.
    """
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    return _with(config, output={"path": free_path(config.output.path)})


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    pilot: the totals of a pilot's run (as those of run.json), estimate: what follows from them.
    """

    bounds: Bounds
    estimate: Estimate | None = None
    pilot: Mapping[str, Any] | None = None


def forecast(
    config: RunConfig,
    *,
    pilot: int | None = None,
    price: float | None = None,
    local: bool = False,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
) -> Forecast:
    """Check a run as `run` does before it starts; its output is neither made nor written.

    Args:
        pilot: also run so many of the images, in a temporary place, and estimate from them.
        price: of a GPU, in dollars an hour.
        local, on_progress, on_warning: of the pilot, as for `run`.

    Raises:
        UserError: bad input.
        RunBrokenError, StoreError: the pilot broke off.
    """
    if pilot is None and price is not None:
        raise UserError("--price needs --pilot N: a cost follows from measured speed")
    if price is not None and not (price > 0 and config.cluster.gpus_per_worker):
        raise UserError(
            f"--price takes the dollars that a GPU costs an hour, but came {price:g} with "
            f"cluster.gpus_per_worker {config.cluster.gpus_per_worker:g}; both must be above 0"
        )
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    bounds = make_plan(config).bounds
    if pilot is None:
        return Forecast(bounds)
    n_pilot = min(pilot, bounds.n_images)
    if n_pilot < MIN_PILOT:
        raise UserError(
            f"--pilot needs {MIN_PILOT} images to judge from, but came {pilot} for a run of "
            f"{bounds.n_images}"
        )
    if not bounds.n_todo:
        raise UserError("--pilot: nothing is left to estimate; every image of the run is done")
    with tempfile.TemporaryDirectory(prefix="zsd-ray-pilot-") as folder:
        sample = _with(
            config,
            data={"limit": n_pilot},
            output={"path": folder, "raw_scores": False},
            tracking={"mlflow": "off"},
        )
        result = run(sample, local=local, on_progress=on_progress, on_warning=on_warning)
    rows = result.table.to_pylist()
    errors = [row["error"] for row in rows if row["error"] is not None]
    rows = [row for row in rows if row["error"] is None]
    if len(rows) < MIN_PILOT:
        raise UserError(
            f"--pilot: only {len(rows)} of {n_pilot} images could be classified ({errors[0]})"
        )
    return Forecast(bounds, estimate(bounds, rows, price), result.metrics)


def _with(config: RunConfig, **sections: Mapping[str, Any]) -> RunConfig:
    """The configuration with some keys of some sections replaced."""
    changed = {
        name: getattr(config, name).model_copy(update=keys) for name, keys in sections.items()
    }
    return config.model_copy(update=changed)


class _Session:
    """What surrounds the deciding: run.json, heartbeat, progress, MLflow, the report."""

    def __init__(self, plan: Plan, on_progress: OnProgress | None, on_warning: OnWarning) -> None:
        self._plan = plan
        self._on_progress = on_progress
        self._on_warning = on_warning
        self._tracker: Tracker | None = None
        self._logged = 0.0
        self._counters = Counters()
        previous = plan.previous
        before = run_metrics(plan.output.read_table("decisions"))
        given_up = before["images"] - plan.n_done  # those are tried again
        self._meter = ProgressMeter(
            plan.n_images,
            Before(plan.n_done, before["errors"] - given_up, before["labelled"], before["correct"]),
        )
        config = resolved(plan.config)
        self._run = RunFile(
            status="running",
            config=config,
            identity=plan.identity,
            identity_parts=plan.identity_parts,
            classes=list(plan.classes.names),
            versions={"python": platform.python_version()}
            | {package: version(package) for package in _PACKAGES},
            seed=plan.config.seed,
            n_images=plan.n_images,
            n_done=before["images"] - before["errors"],
            started=previous.started if previous else _now(),
            totals=previous.totals if previous else {},
            mlflow_run_id=previous.mlflow_run_id if previous else None,
        )
        plan.output.write_run(self._run)
        self._heart = Heart(plan.output, plan.session, self._read(n_workers=0))

    def update(self, counters: Counters, n_workers: int) -> None:
        """Pass the scheduler's counters on to the caller and to MLflow."""
        self._counters = counters
        progress = self._heart.progress = self._read(n_workers)
        if self._on_progress is not None:
            self._on_progress(progress)
        if counters.decided and progress.seconds - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = progress.seconds
            self._log(progress)

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

    def close(self, status: Status) -> RunResult:
        """Write what the run came to, whatever ended it."""
        try:
            return self._close(status)
        finally:
            self._heart.stop(self._run.status if self._run.ended else "failed")

    def _close(self, status: Status) -> RunResult:
        from zsd_ray.reports.html import render_report

        plan = self._plan
        table = plan.output.read_table("decisions")
        totals = run_metrics(table) | self._costs()
        n_done = totals["images"] - totals["errors"]
        if status == "finished" and n_done < plan.n_images:
            status = "incomplete"
        self._run = replace(
            self._run,
            status=status,
            n_done=n_done,
            ended=_now(),
            totals=totals,
        )
        # First the record, then what is made from it.
        plan.output.write_run(self._run)
        traces = plan.output.read_table("traces")
        page = render_report(self._run, table, traces, self._pictures(table, traces))
        plan.output.write_bytes("report.html", page.encode())
        tracked = self._close_tracker(page)
        if tracked is not None:
            self._run = replace(self._run, mlflow_run_id=tracked.run_id)
            plan.output.write_run(self._run)
        report = plan.output.location("report.html")
        return RunResult(self._run, table, redacted(plan.output.path), redacted(report), tracked)

    def _costs(self) -> dict[str, float]:
        """Time and network rows, summed over the sessions of this run."""
        counters, before = self._counters, self._run.totals
        worked = self._meter.seconds if self._plan.todo else 0.0
        seconds = worked + before.get("seconds", 0.0)
        n_rows = counters.n_rows + before.get("n_rows", 0)
        n_scored = counters.n_scored + before.get("n_scored", 0)
        costs = {
            "seconds": round(seconds, 3),
            "n_rows": n_rows,
            "n_scored": n_scored,
            "padding_fraction": 1 - n_scored / n_rows if n_rows else 0.0,
            "evaluations_per_second": n_scored / seconds if seconds else 0.0,
        }
        first = self._meter.seconds_to_first_score or before.get("seconds_to_first_score")
        return costs | ({"seconds_to_first_score": round(first, 3)} if first else {})

    def _pictures(self, table: pa.Table, traces: pa.Table) -> dict[str, Image.Image]:
        """The pictures that the report shows, where they can still be read."""
        from zsd_ray.reports.html import pictures_wanted

        wanted = set(pictures_wanted(table, traces))
        pictures = {}
        for number, record in enumerate(self._plan.records):
            if record.image_id in wanted:
                try:
                    pictures[record.image_id] = self._plan.dataset.read(number)
                except (ImageError, StoreError):
                    continue  # the report leaves a blank for it; its row has the error
        return pictures

    # ---- MLflow

    def _log(self, progress: Progress) -> None:
        # Not before the first image is decided: MLflow's import would slow the workers' start.
        self._start_tracker()
        if self._tracker is None or progress.accuracy is None:
            return
        self._tracker.log(
            {
                "accuracy": progress.accuracy,
                "accuracy_low": progress.interval.low,
                "accuracy_high": progress.interval.high,
                "evaluations_per_second": progress.evaluations_per_second,
                "images_per_second": progress.images_per_second,
            },
            step=progress.n_decided,
        )

    def _start_tracker(self) -> None:
        config = self._plan.config
        uri = tracking_uri(config.tracking.mlflow, config.output.path)
        if self._tracker is not None or uri is None:
            return
        tags = {"zsd_ray.identity": self._plan.identity, "zsd_ray.output": config.output.path}
        commit = _git_commit()
        if commit is not None:
            tags["mlflow.source.git.commit"] = tags["git_commit"] = commit
        self._tracker = Tracker(
            uri,
            config.tracking.experiment,
            name=Path(redacted(config.output.path)).name,
            params=_flat(self._run.config),
            tags=redacted(tags),
            on_warning=self._on_warning,
            run_id=self._run.mlflow_run_id,
        )

    def _close_tracker(self, page: str) -> TrackedRun | None:
        import yaml

        self._start_tracker()
        if self._tracker is None:
            return None
        metrics = {k: float(v) for k, v in self._run.totals.items() if v is not None}
        config = yaml.safe_dump(self._run.config, sort_keys=False)
        artifacts = {"config.yaml": config, "report.html": page}
        status = _MLFLOW_STATUS.get(self._run.status, "FINISHED")
        return self._tracker.close(metrics, artifacts, status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _git_commit() -> str | None:
    """The commit of the source tree that this package runs from, if it is one."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
