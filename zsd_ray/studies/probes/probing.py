"""Probes of a model's blocks: `probe(ProbeConfig(...))`, what `zsd-ray probe` does."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Literal

from zsd_ray.config.identity import resolved, settings
from zsd_ray.config.pooling import pooling_name
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.places import refuse_relative
from zsd_ray.results.tracking.tracker import TrackedRun, start_tracker, tracked_before
from zsd_ray.runtime.pieces import Counted, DoAll, do_here
from zsd_ray.storage.store import Store
from zsd_ray.studies.probes.feature_parts import FeatureParts
from zsd_ray.studies.probes.probe_config import ProbeConfig, SaveConfig
from zsd_ray.studies.probes.probe_plan import SPLITS, ProbePlan, make_probe_plan
from zsd_ray.studies.probes.probe_record import ProbeRecord
from zsd_ray.studies.probes.probe_rows import Row, best_of, to_parquet

OnStage = Callable[[str, int, int], None]
"""Called with a stage ("features", "fits"), and how many of its pieces are done."""

_PLAN_SECONDS = 10.0
_PACKAGES = ("zsd-ray", "torch", "diffusers", "transformers", "numpy", "scipy")
_MLFLOW_STATUS: Mapping[str, Literal["FINISHED", "FAILED", "KILLED"]] = {
    "failed": "FAILED",
    "interrupted": "KILLED",
}


@dataclass(frozen=True)
class ProbeResult:
    """The end of a probe run.

    rows: of probes.parquet, in order of checkpoint, t, block, pooling and probe.
    output, report: paths or URLs; saved: of the model, None where no linear probe was fitted.
    """

    record: ProbeRecord
    rows: list[Row]
    output: str
    report: str
    saved: str | None
    tracked: TrackedRun | None


def probe(
    config: ProbeConfig,
    *,
    local: bool = False,
    on_stage: OnStage = lambda stage, done, total: None,
    on_warning: Callable[[str], None] = print,
) -> ProbeResult:
    """Probe every block, or go on with an interrupted run of the same probes.

    Args:
        local: in this process, without Ray.

    Raises:
        UserError: bad input.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    refuse_relative(config.model_dump(mode="json"))
    # A mistyped endpoint should not be waited for as an outage is.
    store = Store(config.storage)
    with store.impatient(_PLAN_SECONDS):
        plan = make_probe_plan(config, store)
        plan.output.prepare()
    started = time.monotonic()
    record = _record(plan)
    record.write(plan.output)
    rows: list[Row] = []
    saved: Row | None = None
    errors: dict[str, str] = {}
    status: Literal["finished", "incomplete", "interrupted", "failed"] = "failed"
    tracked = None
    do_all = Counted(do_here if local else _crew(config))
    try:
        _extract(plan, do_all, on_stage)
        errors = _errors(plan)
        rows = _fit(plan, do_all, on_stage)
        saved = _save(plan, rows)
        status = "incomplete" if errors else "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        store.seconds = _PLAN_SECONDS  # somebody waits
        raise
    finally:
        found = {kind: best_of(rows, kind) for kind in ("linear", "knn")}
        same = plan.previous  # given again with nothing left to do: its times stay
        if same is None or not same.status == status == "finished" or do_all.n_pieces:
            same = None
        worked = round(record.seconds + time.monotonic() - started, 3)
        record = replace(
            record,
            status=status,
            ended=_now() if same is None else same.ended,
            seconds=worked if same is None else same.seconds,
            n_cells=len({(r["checkpoint"], r["t"], r["block"], r["pooling"]) for r in rows}),
            errors=errors,
            best={kind: ranked[0] for kind, ranked in found.items() if ranked},
            saved=saved,
        )
        artifacts = _write(plan, record, rows)
        if same is None:
            tracked = _track(config, record, artifacts, on_warning)
        else:
            tracked = tracked_before(config.tracking, config.output.path, record.mlflow_run_id)
    if tracked is not None:
        record = replace(record, mlflow_run_id=tracked.run_id)
        record.write(plan.output)
    return ProbeResult(
        record=record,
        rows=rows,
        output=redact(config.output.path),
        report=redact(plan.output.location("report.html")),
        saved=redact(plan.output.location("probe")) if saved else None,
        tracked=tracked,
    )


def _crew(config: ProbeConfig) -> DoAll:
    from zsd_ray.runtime.crew import Crew

    return Crew(config.cluster, config.model.device)


def _extract(plan: ProbePlan, do_all: DoAll, on_stage: OnStage) -> None:
    """Write the features that are not there yet."""
    from zsd_ray.studies.probes.probe_extraction import Extraction, PartPiece

    todo, total = [], 0
    # Two names may be of one content: the last checkpoint, and the model.
    for checkpoint in {each.fingerprint: each for each in plan.checkpoints}.values():
        parts = FeatureParts(plan.output, checkpoint.fingerprint)
        for split in SPLITS:
            n_parts = plan.images[split].n_parts
            written = parts.written(split)
            total += n_parts
            todo += [PartPiece(checkpoint, split, n) for n in range(n_parts) if n not in written]
    done = total - len(todo)
    on_stage("features", done, total)
    make = partial(Extraction, plan.config, plan.images, plan.output)
    for number, _ in enumerate(do_all(make, todo), 1):
        on_stage("features", done + number, total)


def _errors(plan: ProbePlan) -> dict[str, str]:
    """What is wrong with the images that were left out; the same at every checkpoint or not."""
    found: dict[str, str] = {}
    for checkpoint in plan.checkpoints:
        parts = FeatureParts(plan.output, checkpoint.fingerprint)
        for split in SPLITS:
            errors = parts.errors(split, range(plan.images[split].n_parts))
            found |= {f"{split}/{image_id}": text for image_id, text in errors.items()}
    return found


def _fit(plan: ProbePlan, do_all: DoAll, on_stage: OnStage) -> list[Row]:
    from zsd_ray.studies.probes.probe_fit import FitPiece, rows_written

    pieces = []
    for checkpoint in plan.checkpoints:
        cells = FeatureParts(plan.output, checkpoint.fingerprint).cells("train")
        places = dict.fromkeys((cell.t, cell.block) for cell in cells)
        for place in places:
            pieces.append(FitPiece(checkpoint, tuple(c for c in cells if c[:2] == place)))
    if not pieces:
        raise UserError("data.train: none of its first images could be read")
    written = rows_written(plan.output, pieces)
    named = {piece.name: piece for piece in pieces}
    todo = [piece for name, piece in named.items() if name not in written]
    on_stage("fits", len(written), len(named))
    for piece, rows in zip(todo, do_all(partial(_fits, plan), todo), strict=True):
        written[piece.name] = rows
        on_stage("fits", len(written), len(named))
    # A checkpoint that was probed under another name has its rows under this one.
    return [
        row | {"checkpoint": piece.checkpoint.name, "epoch": piece.checkpoint.epoch}
        for piece in pieces
        for row in written[piece.name]
    ]


def _fits(plan: ProbePlan) -> Any:
    from zsd_ray.studies.probes.probe_fit import Fit

    n_parts = {split: plan.images[split].n_parts for split in SPLITS}
    return Fit(plan.config, n_parts, plan.held_out, plan.label_names, plan.output)


def _save(plan: ProbePlan, rows: list[Row]) -> Row | None:
    """Save the best of the linear probes that may be saved; its row."""
    from zsd_ray.studies.probes.probe_fit import save

    ranked = best_of([row for row in rows if _may_be_saved(row, plan.config.save)], "linear")
    if not ranked:
        return None  # no linear probe was fitted: the plan has checked that what `save` names is
    checkpoint = next(c for c in plan.checkpoints if c.name == ranked[0]["checkpoint"])
    save(plan.config, plan.label_names, plan.output, checkpoint, ranked[0])
    return ranked[0]


def _may_be_saved(row: Row, wanted: SaveConfig) -> bool:
    named = {
        "checkpoint": wanted.checkpoint,
        "t": wanted.t,
        "block": wanted.block,
        "pooling": None if wanted.pooling is None else pooling_name(wanted.pooling),
    }
    return all(value is None or row[name] == value for name, value in named.items())


def _record(plan: ProbePlan) -> ProbeRecord:
    previous = plan.previous
    packages = {package: version(package) for package in _PACKAGES}
    return ProbeRecord(
        status="running",
        config=resolved(plan.config),
        identity=plan.identity,
        identity_parts=plan.identity_parts,
        checkpoints={each.name: each.fingerprint for each in plan.checkpoints},
        versions={"python": platform.python_version()} | packages,
        started=previous.started if previous else _now(),
        seconds=previous.seconds if previous else 0.0,
        mlflow_run_id=previous.mlflow_run_id if previous else None,
    )


def _write(plan: ProbePlan, record: ProbeRecord, rows: list[Row]) -> dict[str, str | bytes]:
    """Write what it came to: the record, the rows, the report. Returns what MLflow has of it."""
    import yaml

    from zsd_ray.studies.probes.probe_page import render_probes

    record.write(plan.output)
    artifacts: dict[str, str | bytes] = {
        "config.yaml": yaml.safe_dump(record.config, sort_keys=False)
    }
    if rows:
        plan.output.write_bytes("probes.parquet", to_parquet(rows))
        artifacts["report.html"] = page = render_probes(record, rows)
        plan.output.write_bytes("report.html", page.encode())
    return artifacts


def _track(
    config: ProbeConfig,
    record: ProbeRecord,
    artifacts: Mapping[str, str | bytes],
    on_warning: Callable[[str], None],
) -> TrackedRun | None:
    tracker = start_tracker(
        config.tracking,
        config.output.path,
        settings(config),
        on_warning,
        {"zsd_ray.identity": record.identity},
        record.mlflow_run_id,
    )
    if tracker is None:
        return None
    metrics = {"seconds": record.seconds, "cells": float(record.n_cells)}
    for kind, row in record.best.items():
        for name in ("top1", "low", "high", "top_k", "validation"):
            metrics[f"{kind}_{name}"] = row[name]
    return tracker.close(metrics, artifacts, _MLFLOW_STATUS.get(record.status, "FINISHED"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
