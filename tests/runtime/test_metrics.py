"""What Prometheus reads: names are tested with the dashboard, here are the values."""

import re
import urllib.request

from tests.support.processes import wait_until
from zsd_ray.runtime.gauges import Metrics, WorkerMetrics
from zsd_ray.scheduling.counters import Counters

RUN = "a-run-of-this-test"


def scrape(ray):
    """The values of RUN that the node exports, by name."""
    port = ray.nodes()[0]["MetricsExportPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    lines = re.findall(rf'^(\w+){{[^\n]*run="{RUN}"[^\n]*}} (\S+)$', text, flags=re.MULTILINE)
    return {name: float(value) for name, value in lines}


def test_prometheus_reads_what_the_scheduler_and_the_workers_counted(local_ray):
    before = Counters(decided=5, n_scored=100)  # of a process before this one, which exported them
    metrics, worker = Metrics(RUN, before), WorkerMetrics(RUN)
    gauges = {"queue_depth": 3, "open_images": 4, "images_left": 11, "workers": 2}
    metrics.update(Counters(decided=7, n_scored=150), **gauges, unwritten_rows=9)
    metrics.update(
        Counters(decided=8, n_scored=180, n_rows=200, n_micro_batches=6, n_retries=1),
        **gauges,
        unwritten_rows=1,
    )
    worker.add(busy=1.5, wait=0.0)
    worker.add(busy=1.0, wait=0.25)
    wait_until(lambda: scrape(local_ray).get("ray_zsd_ray_worker_wait_seconds_total"))
    assert scrape(local_ray) == {
        "ray_zsd_ray_evaluations_total": 80,
        "ray_zsd_ray_rows_total": 200,
        "ray_zsd_ray_images_decided_total": 3,
        "ray_zsd_ray_micro_batches_total": 6,
        "ray_zsd_ray_retries_total": 1,
        "ray_zsd_ray_queue_depth": 3,
        "ray_zsd_ray_open_images": 4,
        "ray_zsd_ray_images_left": 11,
        "ray_zsd_ray_workers": 2,
        "ray_zsd_ray_unwritten_rows": 1,
        "ray_zsd_ray_worker_busy_seconds_total": 2.5,
        "ray_zsd_ray_worker_wait_seconds_total": 0.25,
    }
