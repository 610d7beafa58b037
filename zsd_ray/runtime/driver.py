"""The driver: starts the actors of one run, watches them, and ends them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zsd_ray.planning.observer import variables
from zsd_ray.planning.plan import Plan
from zsd_ray.records.errors import RunBrokenError, last_line
from zsd_ray.runtime import resources
from zsd_ray.runtime.cluster import cluster
from zsd_ray.runtime.fleet import Fleet
from zsd_ray.runtime.scheduler_actor import SchedulerActor, State
from zsd_ray.runtime.sink import Sink
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.scheduler import WORKERS_PER_SCHEDULER

POLL_SECONDS = 0.25
_LAST_SECONDS = 60.0
_SILENT_SECONDS = 600.0
"""A scheduler that is started again reads the output first, so it is waited for; one that dies at
every start is not waited for longer than this, or twice storage.retry_seconds."""

OnProgress = Callable[[Counters, int], None]
OnWarning = Callable[[str], None]


def run_on_ray(plan: Plan, on_progress: OnProgress, on_warning: OnWarning) -> Counters:
    """Decide every image of `plan.todo` on a Ray cluster, and write the rows.

    However it ends, decided rows are written and no actor of this run is left.

    Args:
        on_progress: called a few times a second with the counters and the number of workers.
        on_warning: called with one line about each problem while the run continues.

    Raises:
        UserError: the cluster cannot be reached, or cannot hold the workers.
        RunBrokenError: workers fail again and again, or rows cannot be written.
    """
    with cluster(plan.config.cluster, plan.config.model.device):
        return _Run(plan, on_progress, on_warning).to_the_end()


class _Run:
    """The actors of one run."""

    def __init__(self, plan: Plan, on_progress: OnProgress, on_warning: OnWarning) -> None:
        self._on_progress = on_progress
        self._on_warning = on_warning
        self._workers = plan.config.cluster.workers
        # Beside the driver: worker nodes come and go.
        here = {
            "scheduling_strategy": NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=True
            ),
            "runtime_env": {"env_vars": resources.NO_GPU | variables(os.environ)},
        }
        config = plan.config
        self._sink: Any = Sink.options(**here).remote(  # type: ignore[attr-defined]
            plan.output, config.output.raw_scores
        )
        # A restarted scheduler reads both, so the driver keeps them. As bytes, because
        # Ray cannot know that and prints a line about it.
        self._plan = ray.put(plan)
        shared = ray.cloudpickle.dumps((self._plan, self._sink))
        n_shards = min(-(-self._workers.max // WORKERS_PER_SCHEDULER), len(plan.todo))
        self._schedulers: list[Any] = [
            SchedulerActor.options(**here).remote(  # type: ignore[attr-defined]
                shared, shard, n_shards
            )
            for shard in range(n_shards)
        ]
        self._fleet = Fleet(plan, self._schedulers, on_warning)
        self._states: list[State] = []
        self._asked: list[Any] = []
        self._heard = time.monotonic()  # when all schedulers had answered
        self._silent_seconds = max(_SILENT_SECONDS, 2 * config.storage.retry_seconds)

    def to_the_end(self) -> Counters:
        try:
            self._watch()
        except BaseException:
            # Also after Ctrl-C in a Ray that lives on. The output may be unreachable: with a limit.
            self._end(seconds=_LAST_SECONDS)
            raise
        counters = self._end(seconds=None)
        self._on_progress(counters, 0)
        return counters

    def _watch(self) -> None:
        """Keep the fleet at work until every image is decided."""
        self._fleet.resize(max(1, self._workers.min), ())
        while not (self._states and all(state.finished for state in self._states)):
            counters = sum((state.counters for state in self._states), Counters())
            try:
                self._fleet.watch(POLL_SECONDS, counters.n_micro_batches)
            except RunBrokenError as error:
                raise self._broken(str(error)) from error
            self._on_progress(counters, self._fleet.n_running)
            if not self._ask():
                continue
            for state in self._states:
                self._fleet.pass_on(state.notes)
                if state.write_error is not None:
                    raise self._broken(f"rows cannot be written: {state.write_error}")
                self._fleet.end_overdue(state.overdue)
            useful = sum(state.useful for state in self._states)
            idle = [name for state in self._states for name in state.idle]
            self._fleet.resize(max(self._workers.min, min(useful, self._workers.max)), idle)

    def _ask(self) -> bool:
        """Update the schedulers' states; returns False while one is being restarted."""
        self._asked = self._asked or [s.progress.remote() for s in self._schedulers]
        ready, _ = ray.wait(self._asked, num_returns=len(self._asked), timeout=POLL_SECONDS)
        if len(ready) < len(self._asked):
            if time.monotonic() - self._heard > self._silent_seconds:
                raise self._broken(f"a scheduler is silent for {self._silent_seconds:g} s")
            return False
        try:
            self._states = ray.get(self._asked)
        except RayTaskError:
            raise  # a fault in the scheduler, which is not lost
        except RayError as error:
            raise self._broken(f"a scheduler failed ({last_line(error)})") from error
        self._asked, self._heard = [], time.monotonic()
        return True

    def _broken(self, what: str) -> RunBrokenError:
        return RunBrokenError(f"{what}; run the same command again to resume")

    def _end(self, seconds: float | None) -> Counters:
        """Write all decided rows and checkpoints, within `seconds`, and end every actor."""
        self._fleet.end()
        counters = Counters()
        drains = [scheduler.drain.remote() for scheduler in self._schedulers]
        try:
            ready, late = ray.wait(drains, num_returns=len(drains), timeout=seconds)
            reasons = [] if not late else [f"the output did not take them in {seconds:g} s"]
            for drain in ready:
                try:
                    counters += ray.get(drain)
                except (RayError, OSError) as error:
                    reasons.append(last_line(error))
        finally:
            for actor in [*self._schedulers, self._sink]:
                ray.kill(actor)
        if reasons and seconds is None:
            raise self._broken(f"the last rows cannot be written ({reasons[0]})")
        if reasons:
            self._on_warning(f"the last rows cannot be written ({reasons[0]})")
        return counters
