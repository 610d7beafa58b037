"""Probes of a model's blocks: `probe(ProbeConfig(...))`, what `zsd-ray probe` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from zsd_ray.config.identity import resolved
from zsd_ray.config.pooling import pooling_name
from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.job import Job, OnWarning, planning
from zsd_ray.results.provenance import now, versions
from zsd_ray.results.record_file import Status
from zsd_ray.results.tracking.tracker import TrackedRun
from zsd_ray.runtime.executor import workers
from zsd_ray.runtime.pieces import Counted, DoAll
from zsd_ray.studies.probes.feature_parts import FeatureParts
from zsd_ray.studies.probes.probe_config import ProbeConfig, SaveConfig
from zsd_ray.studies.probes.probe_plan import SPLITS, ProbePlan, make_probe_plan
from zsd_ray.studies.probes.probe_record import ProbeRecord
from zsd_ray.studies.probes.probe_rows import Row, best_of, to_parquet

OnStage = Callable[[str, int, int], None]
"""Called with a stage ("features", "fits"), and how many of its pieces are done."""


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
    on_warning: OnWarning = print,
) -> ProbeResult:
    """Probe every block, or resume an interrupted run of the same probes.

    Args:
        local: in this process, without Ray.

    Raises:
        UserError: bad input.
        RunBrokenError, StoreError: it cannot continue; the same call resumes it later.
    """
    with planning(config) as store:
        plan = make_probe_plan(config, store)
        plan.output.prepare()
    return _Probing(plan, local, on_stage, on_warning).run()


class _Probing(Job[ProbeResult]):
    """One call of `probe`: the features, the fits, the best probe saved."""

    def __init__(
        self, plan: ProbePlan, local: bool, on_stage: OnStage, on_warning: OnWarning
    ) -> None:
        record = _record(plan)
        store, run_id = plan.output.store, record.mlflow_run_id
        super().__init__(plan.config, store, on_warning, plan.identity, run_id)
        self._plan = plan
        self._on_stage = on_stage
        self._do_all = Counted(workers(local, plan.config.cluster, plan.config.model.device))
        self._rows: list[Row] = []
        self._record = record
        record.write(plan.output)

    def work(self) -> Status:
        plan = self._plan
        _extract(plan, self._do_all, self._on_stage)
        self._record = replace(self._record, errors=_errors(plan))
        self._rows = _fit(plan, self._do_all, self._on_stage)
        self._record = replace(self._record, saved=_save(plan, self._rows))
        return "incomplete" if self._record.errors else "finished"

    def end(self, status: Status) -> ProbeResult:
        plan, rows = self._plan, self._rows
        found = {kind: best_of(rows, kind) for kind in ("linear", "knn")}
        same = plan.previous  # given again with nothing left to do: its times stay
        if same is None or not same.status == status == "finished" or self._do_all.n_pieces:
            same = None
        record = replace(
            self._record,
            status=status,
            ended=now() if same is None else same.ended,
            seconds=round(self._record.seconds + self.seconds, 3) if same is None else same.seconds,
            n_cells=len({(r["checkpoint"], r["t"], r["block"], r["pooling"]) for r in rows}),
            best={kind: ranked[0] for kind, ranked in found.items() if ranked},
        )
        artifacts = _write(plan, record, rows)
        if same is None:
            tracked = self.close_tracker(status, _metrics(record), artifacts)
        else:
            tracked = self.tracked_before()
        if tracked is not None:
            record = replace(record, mlflow_run_id=tracked.run_id)
            record.write(plan.output)
        return ProbeResult(
            record=record,
            rows=rows,
            output=redact(plan.output.path),
            report=redact(plan.output.location("report.html")),
            saved=redact(plan.output.location("probe")) if record.saved else None,
            tracked=tracked,
        )


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
    """Return the errors of the images that were left out, at any checkpoint."""
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
    return ProbeRecord(
        status="running",
        config=resolved(plan.config),
        identity=plan.identity,
        identity_parts=plan.identity_parts,
        checkpoints={each.name: each.fingerprint for each in plan.checkpoints},
        versions=versions(),
        started=previous.started if previous else now(),
        seconds=previous.seconds if previous else 0.0,
        mlflow_run_id=previous.mlflow_run_id if previous else None,
    )


def _write(plan: ProbePlan, record: ProbeRecord, rows: list[Row]) -> dict[str, str | bytes]:
    """Write the results: the record, the rows, the report. Returns the values for MLflow."""
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


def _metrics(record: ProbeRecord) -> dict[str, float]:
    """Return the metrics for MLflow."""
    metrics = {"seconds": record.seconds, "cells": float(record.n_cells)}
    for kind, row in record.best.items():
        for name in ("top1", "low", "high", "top_k", "validation"):
            metrics[f"{kind}_{name}"] = row[name]
    return metrics
