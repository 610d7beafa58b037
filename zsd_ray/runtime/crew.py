"""Workers that do independent tasks on a Ray cluster, with results in the order of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from zsd_ray.config.run import ClusterConfig
from zsd_ray.records.errors import RunBrokenError, last_line
from zsd_ray.runtime import resources
from zsd_ray.runtime.cluster import cluster
from zsd_ray.runtime.pieces import Work

_IN_FLIGHT = 2
"""Pieces a worker has: it does one while the next waits at its door."""
_AHEAD = 8
"""Pieces a worker may be ahead of the first one that is not done: results come in order."""
_RETRIES = 3


@ray.remote(max_restarts=-1, max_task_retries=_RETRIES)
class _Worker:
    """Does tasks; if its process or node is lost, Ray restarts it elsewhere and asks again."""

    def __init__(self, make: bytes, gpus: float, device: str) -> None:
        self._make = make
        self._gpus, self._device = gpus, device
        self._work: Work[Any, Any] | None = None

    def ready(self) -> None:
        """Return once this worker has a place."""

    def do(self, piece: Any) -> Any:
        # Not in __init__: exceptions there reach the caller as other types.
        if self._work is None:
            resources.check_gpu(self._gpus, self._device)
            self._work = ray.get(ray.cloudpickle.loads(self._make))()
        return self._work(piece)


@dataclass(frozen=True)
class Crew:
    """A `DoAll` on a Ray cluster: one worker per task, up to workers.max."""

    config: ClusterConfig
    device: str = "auto"

    def __call__(self, make: Callable[[], Work[Any, Any]], pieces: Sequence[Any]) -> Iterator[Any]:
        """Yield the result of each task, in the order of the tasks; ends its workers at the end.

        Raises:
            UserError: the cluster cannot be reached, or a task raised it.
            RunBrokenError: workers were lost repeatedly over one task.
        """
        if not pieces:
            return
        with cluster(self.config, self.device):
            n_workers = min(self.config.workers.max, -(-len(pieces) // _IN_FLIGHT))
            # Kept here, since restarted workers read it. As bytes, because Ray cannot
            # know that and prints a line about it.
            kept = ray.put(make)
            shared = ray.cloudpickle.dumps(kept)
            given = resources.options(self.config.gpus_per_worker, self.config.cpus_per_worker)
            workers = [
                _Worker.options(**given).remote(  # type: ignore[attr-defined]
                    shared, self.config.gpus_per_worker, self.device
                )
                for _ in range(n_workers)
            ]
            try:
                yield from _in_order(workers, pieces)
            finally:
                for worker in workers:
                    ray.kill(worker)


def _in_order(workers: Sequence[Any], pieces: Sequence[Any]) -> Iterator[Any]:
    """Give out tasks on demand and yield their results in order, with bounded memory."""
    # Only workers with a place get tasks: a cluster may never hold them all.
    starting = {worker.ready.remote(): worker for worker in workers}
    idle: list[Any] = []
    asked: dict[Any, tuple[int, Any]] = {}  # the pending answer: task, and the worker asked
    done: dict[int, Any] = {}
    given = yielded = 0
    while yielded < len(pieces):
        while idle and given < min(len(pieces), yielded + _AHEAD * len(workers)):
            worker = idle.pop(0)
            asked[worker.do.remote(pieces[given])] = given, worker
            given += 1
        (ready, *_), _ = ray.wait([*starting, *asked], num_returns=1)
        if ready in starting:
            _result(ready)
            idle += [starting.pop(ready)] * _IN_FLIGHT
            continue
        number, worker = asked.pop(ready)
        done[number] = _result(ready)
        idle.append(worker)
        while yielded in done:
            yield done.pop(yielded)
            yielded += 1


def _result(answer: Any) -> Any:
    try:
        return ray.get(answer)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from error
    except RayActorError as error:
        raise RunBrokenError(
            f"a worker is lost again and again ({last_line(error)}); run the same command again "
            "to resume"
        ) from error
    except RayError as error:
        raise RunBrokenError(f"{last_line(error)}; run the same command again to resume") from error
