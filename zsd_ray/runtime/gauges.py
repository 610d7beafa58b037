"""The metrics that Ray exports for Prometheus; cluster/grafana-dashboard.json draws them.

Ray puts `ray_` before each name and `_total` behind a counter's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from ray.util.metrics import Counter, Gauge

from zsd_ray.scheduling.counters import Counters

COUNTERS: Mapping[str, tuple[str, str]] = {
    "n_scored": ("zsd_ray_evaluations", "evaluations that workers answered"),
    "n_rows": ("zsd_ray_rows", "network rows, with those that pad a batch"),
    "decided": ("zsd_ray_images_decided", "images with a decision"),
    "n_micro_batches": ("zsd_ray_micro_batches", "micro-batches that workers answered"),
    "n_retries": ("zsd_ray_retries", "micro-batches that a lost worker left"),
}
"""Field of Counters -> name and description of the metric."""

GAUGES: Mapping[str, tuple[str, str]] = {
    "queue_depth": ("zsd_ray_queue_depth", "images whose next draws wait for a worker"),
    "open_images": ("zsd_ray_open_images", "images between first micro-batch and decision"),
    "images_left": ("zsd_ray_images_left", "images without a decision"),
    "workers": ("zsd_ray_workers", "workers that asked for work"),
    "unwritten_rows": ("zsd_ray_unwritten_rows", "decided rows that are not written yet"),
}

WORKER_COUNTERS: Mapping[str, tuple[str, str]] = {
    "busy": ("zsd_ray_worker_busy_seconds", "time that workers spent on micro-batches"),
    "wait": ("zsd_ray_worker_wait_seconds", "time that workers waited for micro-batches"),
}


class Metrics:
    """The metrics of one scheduler, tagged with the run's output.

    Args:
        counters: the initial counters, which were exported before.
    """

    def __init__(self, run: str, counters: Counters) -> None:
        self._run = {"run": run}
        self._counters = {key: _counter(*about) for key, about in COUNTERS.items()}
        self._gauges = {
            key: Gauge(name, description, tag_keys=("run",))
            for key, (name, description) in GAUGES.items()
        }
        self._before = asdict(counters)

    def update(self, counters: Counters, **gauges: int) -> None:
        """Export the present counters and gauges."""
        now = asdict(counters)
        for key, counter in self._counters.items():
            if now[key] > self._before[key]:
                counter.inc(now[key] - self._before[key], self._run)
        self._before = now
        for key, value in gauges.items():
            self._gauges[key].set(value, self._run)


class WorkerMetrics:
    """Metrics of how a worker's time is spent."""

    def __init__(self, run: str) -> None:
        self._run = {"run": run}
        self._counters = {key: _counter(*about) for key, about in WORKER_COUNTERS.items()}

    def add(self, busy: float, wait: float) -> None:
        """Add seconds to a kind of time."""
        for key, seconds in {"busy": busy, "wait": wait}.items():
            if seconds > 0:
                self._counters[key].inc(seconds, self._run)


def _counter(name: str, description: str) -> Counter:
    return Counter(name, description, tag_keys=("run",))
