"""The driver: starts the actors of one run, watches them, and ends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

from zsd_ray.engine.plan import Plan
from zsd_ray.engine.scheduler import Counters
from zsd_ray.runtime.cluster import cluster
from zsd_ray.runtime.model_worker import ModelWorker
from zsd_ray.runtime.scheduler_actor import SchedulerActor
from zsd_ray.runtime.sink import Sink
from zsd_ray.spec.errors import RunBrokenError

POLL_SECONDS = 0.25

OnProgress = Callable[[Counters, int], None]
OnWarning = Callable[[str], None]


def run_on_ray(plan: Plan, on_progress: OnProgress, on_warning: OnWarning) -> Counters:
    """Decide every image of `plan.todo` on a Ray cluster, and write the rows.

    Whatever ends it, decided rows are written and no actor of this run is left.

    Args:
        on_progress: called a few times a second with the counters and the number of workers.
        on_warning: called with one line about what went wrong while the run goes on.

    Raises:
        UserError: the cluster cannot be reached, or cannot hold the workers.
        RunBrokenError: no worker is left, or rows cannot be written.
    """
    with cluster(plan.config):
        return _Run(plan, on_progress, on_warning).to_the_end()


class _Run:
    """The actors of one run."""

    def __init__(self, plan: Plan, on_progress: OnProgress, on_warning: OnWarning) -> None:
        self._plan = plan
        self._on_progress = on_progress
        self._on_warning = on_warning
        self._reason = ""
        config = plan.config
        self._sink: Any = Sink.remote(  # type: ignore[attr-defined]
            plan.output, config.output.raw_scores, config.output.flush_seconds
        )
        self._scheduler: Any = SchedulerActor.remote(plan, self._sink)  # type: ignore[attr-defined]
        options = {
            "num_gpus": config.cluster.gpus_per_worker,
            "num_cpus": config.cluster.cpus_per_worker,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(config.cluster.cpus_per_worker)}},
        }
        self._workers: dict[str, Any] = {
            f"worker-{index}": ModelWorker.options(**options).remote(  # type: ignore[attr-defined]
                config, plan.model_fingerprint
            )
            for index in range(config.cluster.workers)
        }

    def to_the_end(self) -> Counters:
        try:
            conditioning = ray.put(self._encode_prompts())
            dataset = ray.put(self._plan.dataset)
            running = {
                worker.run.remote(name, self._scheduler, dataset, conditioning): name
                for name, worker in self._workers.items()
            }
            self._watch(running)
        finally:
            # Also after Ctrl-C in a Ray that lives on: a worker's long call ends only by force.
            for worker in self._workers.values():
                ray.kill(worker)
            counters = self._drain()
        self._on_progress(counters, 0)
        return counters

    def _encode_prompts(self) -> Any:
        """Conditioning of every prompt, by the first worker that can."""
        for name, worker in list(self._workers.items()):
            answer = worker.encode_prompts.remote(self._plan.prompts)
            while not ray.wait([answer], timeout=POLL_SECONDS)[0]:
                self._on_progress(Counters(), 0)
            try:
                return ray.get(answer)
            except RayError as error:
                self._lost(name, error)
        raise self._broken("every worker is lost")

    def _watch(self, running: dict[Any, str]) -> None:
        """Wait until every image is decided, and tell the scheduler of workers that are lost."""
        finished = False
        while not finished:
            if not running:
                raise self._broken("every worker is lost")
            ready, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for ref in ready:
                name = running.pop(ref)
                try:
                    ray.get(ref)
                except RayError as error:
                    self._lost(name, error)
                    ray.get(self._scheduler.lose.remote(name))
            self._sink.flush_if_due.remote()
            state = ray.get(self._scheduler.progress.remote())
            if state.write_error is not None:
                raise self._broken(f"rows cannot be written: {state.write_error}")
            self._on_progress(state.counters, state.n_workers)
            finished = state.finished

    def _lost(self, name: str, error: RayError) -> None:
        self._reason = str(error).strip().split("\n")[-1].strip()
        self._on_warning(f"{name} is lost ({self._reason})")
        ray.kill(self._workers.pop(name))

    def _broken(self, what: str) -> RunBrokenError:
        reason = f" ({self._reason})" if self._reason else ""
        return RunBrokenError(f"{what}{reason}; run the same command again to go on")

    def _drain(self) -> Counters:
        """Have everything decided so far written, and end the last two actors."""
        try:
            counters: Counters = ray.get(self._scheduler.drain.remote())
        except (RayError, OSError) as error:
            self._reason = str(error).strip().split("\n")[-1].strip()
            raise self._broken("the last rows cannot be written") from error
        finally:
            ray.kill(self._scheduler)
            ray.kill(self._sink)
        return counters
