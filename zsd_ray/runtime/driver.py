"""The driver: starts the actors of one run, watches them, and ends them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Before ray is imported, which reads it once: a private cluster reports nothing home.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import RayActorError, RayTaskError

from zsd_ray.engine.plan import Plan
from zsd_ray.engine.scheduler import Counters
from zsd_ray.runtime.model_worker import ModelWorker
from zsd_ray.runtime.scheduler_actor import SchedulerActor
from zsd_ray.runtime.sink import Sink
from zsd_ray.spec.config import ClusterConfig
from zsd_ray.spec.errors import UserError, WorkersLostError

POLL_SECONDS = 0.25


def run_on_ray(
    plan: Plan,
    on_progress: Callable[[Counters, int], None],
    on_warning: Callable[[str], None],
) -> Counters:
    """Decide every image of `plan.todo` on a Ray cluster, and write the rows.

    Args:
        on_progress: called a few times a second with the counters and the number of workers.
        on_warning: called with one line about what went wrong while the run goes on.

    Raises:
        UserError: the cluster cannot be reached, or cannot hold the workers.
        WorkersLostError: no worker is left.
    """
    with _cluster(plan.config.cluster):
        return _run(plan, on_progress, on_warning)


def _run(
    plan: Plan,
    on_progress: Callable[[Counters, int], None],
    on_warning: Callable[[str], None],
) -> Counters:
    config = plan.config
    cluster = config.cluster
    _check_resources(cluster)
    workers = {
        f"worker-{index}": ModelWorker.options(  # type: ignore[attr-defined]
            num_gpus=cluster.gpus_per_worker,
            num_cpus=cluster.cpus_per_worker,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(cluster.cpus_per_worker)}},
        ).remote(config)
        for index in range(cluster.workers)
    }
    sink = Sink.remote(plan.output, config.output.raw_scores, config.output.flush_seconds)  # type: ignore[attr-defined]
    scheduler = SchedulerActor.remote(plan, sink)  # type: ignore[attr-defined]
    dataset = ray.put(plan.dataset)
    first = next(iter(workers.values()))
    conditioning = first.encode_prompts.remote(plan.prompts)
    running = {
        worker.run.remote(name, scheduler, dataset, conditioning): name
        for name, worker in workers.items()
    }
    try:
        _watch(running, scheduler, on_progress, on_warning)
    finally:
        ray.get(scheduler.drain.remote())
    counters: Counters = ray.get(scheduler.progress.remote())[0]
    on_progress(counters, 0)
    return counters


def _watch(
    running: dict[Any, str],
    scheduler: Any,
    on_progress: Callable[[Counters, int], None],
    on_warning: Callable[[str], None],
) -> None:
    """Wait until every worker has come home, and tell the scheduler of those that do not."""
    reason = ""
    while running:
        ready, _ = ray.wait(list(running), timeout=POLL_SECONDS)
        for ref in ready:
            name = running.pop(ref)
            try:
                ray.get(ref)
            except (RayActorError, RayTaskError) as error:
                reason = str(error).strip().split("\n")[-1]
                on_warning(f"{name} is lost ({reason}); its work goes to the others")
                ray.get(scheduler.lose.remote(name))
        counters, n_workers, finished = ray.get(scheduler.progress.remote())
        on_progress(counters, n_workers)
    if not finished:
        raise WorkersLostError(
            f"every worker is lost ({reason}); run the same command again to go on"
        )


@contextmanager
def _cluster(config: ClusterConfig) -> Iterator[None]:
    """A connection to the cluster at `address`, or a private one on this machine."""
    if ray.is_initialized():
        yield  # the caller's own cluster, in a notebook or a test
        return
    if config.address is None:
        ray.init(
            num_cpus=max(os.cpu_count() or 1, config.workers * config.cpus_per_worker),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _node_ip_address="127.0.0.1",
        )
    else:
        try:
            ray.init(address=config.address, log_to_driver=False, logging_level="error")
        except ConnectionError as error:
            raise UserError(
                f"cluster.address {config.address} does not answer "
                f"({str(error).strip().splitlines()[0]}); start it with `ray start --head`, or "
                "leave cluster.address out to run on this machine"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_resources(config: ClusterConfig) -> None:
    """Refuse workers that no node of a private cluster can hold; they would wait for ever."""
    have = ray.cluster_resources().get("GPU", 0)
    need = config.gpus_per_worker * config.workers
    if config.address is None and need > have:
        raise UserError(
            f"cluster: {config.workers} workers x {config.gpus_per_worker:g} GPUs need {need:g}, "
            f"and this machine has {have:g}; set cluster.gpus_per_worker: 0 to run on the CPU"
        )
