"""The output of `zsd-ray status`."""

from __future__ import annotations

from datetime import datetime

from zsd_ray.reports.lines import Rows, amount, share
from zsd_ray.reports.progress_bar import duration
from zsd_ray.results.run_status import RunStatus

_BAR_WIDTH = 24


def status_rows(status: RunStatus) -> Rows:
    """Return a name and a value for each line."""
    rows = [("run", status.output), ("status", _state(status)), ("images", _images(status))]
    if status.accuracy is not None:
        interval = f"[{status.accuracy_low:.1%}, {status.accuracy_high:.1%}]"
        rows.append(("accuracy", f"{status.accuracy:.1%}  95% interval {interval}"))
    speed = []
    if status.evaluations_per_second:
        speed.append(f"{status.evaluations_per_second:,.0f} evaluations/s")
    if status.images_per_second:
        speed.append(f"{amount(status.images_per_second)} images/s")
    if speed:
        rows.append(("speed", ", ".join(speed)))
    if status.n_workers is not None:
        rows.append(("workers", str(status.n_workers)))
    if status.seconds_left is not None:
        rows.append(("time left", duration(status.seconds_left)))
    rows.append(("started", _time(status.started)))
    if status.ended is not None:
        rows.append(("ended", _time(status.ended)))
    elif status.seconds_since is not None:
        by = f"process {status.pid} on {status.host}"
        rows.append(("last heard", f"{duration(status.seconds_since)} ago, from {by}"))
    if status.report is not None:
        rows.append(("report", status.report))
    return rows


def _state(status: RunStatus) -> str:
    if status.silent:
        return f"no sign of life for {status.seconds_since:.0f} s; the same command resumes it"
    if status.status in ("interrupted", "failed"):
        return f"{status.status}; the same command resumes it"
    if status.status == "incomplete":
        return "incomplete: some images have errors, in the error column of the decisions"
    return status.status


def _images(status: RunStatus) -> str:
    if status.n_decided > status.n_images:
        return (
            f"{status.n_decided:,} rows for {status.n_images:,} images: its record is damaged, or "
            "another command with more images writes there"
        )
    done = status.n_decided / status.n_images if status.n_images else 1.0
    bar = "#" * int(done * _BAR_WIDTH)
    text = f"[{bar:-<{_BAR_WIDTH}}] {status.n_decided:,} of {status.n_images:,} ({share(done)})"
    return f"{text}, {status.n_errors:,} with errors" if status.n_errors else text


def _time(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S %Z}" if stamp else "unknown"
