"""Outputs of runs that never ran: a record, and the rows that a test wants."""

from tests.support.digit_runs import PAPER
from zsd_ray.config.identity import resolved
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.scores import Decision
from zsd_ray.results.output import Output
from zsd_ray.results.rows.schema import decisions_table
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.totals import run_metrics
from zsd_ray.storage.store import Store

CLASSES = ["cat", "dog", "eel"]


def write_run(path, rows, classes=CLASSES, data=None, n_images=None, store=None, **totals):
    """Write rows of (image id, label, prediction or None for an error, evaluations)."""
    config = parse_config(
        RunConfig,
        {
            "data": data or {},
            "prompts": {"classes": list(classes)},
            "method": PAPER,
            "output": {"path": str(path)},
        },
    )
    decisions = [
        Decision(
            image_id=image_id,
            source="memory",
            label=label,
            prediction=prediction,
            n_evaluations=0 if prediction is None else n_evaluations,
            error="unreadable" if prediction is None else None,
            stop_reason="error" if prediction is None else "one-class-left",
        )
        for image_id, label, prediction, n_evaluations in rows
    ]
    output = Output(str(path), store or Store())
    output.prepare()
    output.write_decisions(decisions, raw_scores=False, part="part-0.parquet")
    parts = config.model_dump(mode="json")["data"]
    del parts["limit"]
    output.write_run(
        RunFile(
            status="finished",
            config=resolved(config),
            identity=str(path),
            identity_parts={"data": parts},
            classes=list(classes),
            versions={},
            seed=0,
            n_images=n_images or len(rows),
            totals=run_metrics(decisions_table(decisions)) | totals,
        )
    )
    return str(path)
