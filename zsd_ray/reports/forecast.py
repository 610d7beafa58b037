"""What `zsd-ray plan` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zsd_ray.reports.lines import Rows, amount
from zsd_ray.reports.progress_bar import duration
from zsd_ray.results.estimate import Bounds, Estimate, Likely


def bounds_rows(bounds: Bounds) -> Rows:
    """What is known without trying."""
    low, high = bounds.min_workers, bounds.max_workers
    workers = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    gpus = f"with {bounds.gpus_per_worker:g} GPU each" if bounds.gpus_per_worker else "on CPUs"
    templates = "1 template" if bounds.n_templates == 1 else f"{bounds.n_templates} templates"
    return [
        ("output", bounds.output),
        (
            "images",
            f"{bounds.n_images:,} of {bounds.n_listed:,} in the data: {bounds.n_done:,} done, "
            f"{bounds.n_todo:,} to do",
        ),
        ("classes", f"{bounds.n_classes:,} with {templates}: {bounds.n_prompts:,} prompts"),
        ("workers", f"{workers}, {gpus}"),
        ("evaluations an image", _range(bounds.least, bounds.most)),
        ("evaluations in all", _range(bounds.least * bounds.n_todo, bounds.most * bounds.n_todo)),
        *([("pilot, before", f"{bounds.pilot:,} evaluations more")] if bounds.pilot else []),
        *_audit(bounds),
        *[("identity has" if not n else "", line) for n, line in enumerate(bounds.hashed)],
    ]


def _audit(bounds: Bounds) -> Rows:
    n = bounds.n_audit
    if not n:
        return []
    evaluations = _range(n * bounds.audit_least, n * bounds.audit_most)
    return [("audit, on top", f"{n:,} images with all classes, {evaluations} evaluations")]


def caveat(estimate: Estimate, local: bool) -> str:
    """What a reader must know before believing the figures."""
    where = "in one process on this machine" if local else "on the cluster's workers"
    return (
        f"An estimate from {estimate.n_pilot} images with nominal 95% intervals, timed {where}.\n"
        "Rare, costly images that the pilot missed, and the start of machines, come on top."
    )


def estimate_rows(bounds: Bounds, estimate: Estimate, pilot: Mapping[str, Any]) -> Rows:
    """What a pilot says; `pilot` are the totals of its run."""
    rows = [
        ("evaluations an image", _likely(estimate.evaluations_per_image, "{:,.1f}".format)),
        ("evaluations in all", _likely(estimate.evaluations, amount)),
        ("seconds an evaluation", f"{amount(estimate.seconds_per_evaluation)} of one worker"),
        ("worker hours", _likely(estimate.worker_hours, amount)),
    ]
    if estimate.gpu_hours is not None:
        rows.append(("GPU hours", _likely(estimate.gpu_hours, amount)))
    hours = estimate.hours.times(3600)
    rows.append((f"duration, {bounds.max_workers:,} workers", _likely(hours, duration)))
    if estimate.cost is not None:
        rows.append(("cost", _likely(estimate.cost, lambda dollars: f"${dollars:,.2f}")))
    if pilot["accuracy"] is not None:
        low, high = pilot["accuracy_low"], pilot["accuracy_high"]
        rows.append(("pilot's accuracy", f"{pilot['accuracy']:.1%}  [{low:.1%}, {high:.1%}]"))
    return rows


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"at least {least:,}, at most {most:,}"


def _likely(figure: Likely, form: Callable[[float], str]) -> str:
    return f"{form(figure.value)}  [{form(figure.low)}, {form(figure.high)}]"
