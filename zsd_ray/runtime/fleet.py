"""The model workers of one run: started as there is work for them, and replaced when lost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError

from zsd_ray.config.precision import N_CHECKED
from zsd_ray.planning.plan import Plan
from zsd_ray.records.errors import RunBrokenError, UserError, last_line
from zsd_ray.runtime import nodes, resources
from zsd_ray.runtime.model_worker import ModelWorker

_NODES_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_FAILURES = 3
_CRASHES = 10
_LONGEST_DELAY = 30.0
_PREPARE_FACTOR = 10.0  # of cluster.hang_seconds, for the prompts of a whole run


@dataclass
class _Worker:
    actor: Any
    answer: Any  # of its current call; None: it waits for the prompts
    task: str  # "start", "wait", "encode", "bind", "ready" or "run"
    node: str = ""
    since: float = 0.0  # when it was given this task


class Fleet:
    """Starts, watches, replaces and releases workers; every method returns within seconds.

    A worker that has no place yet makes Ray's autoscaler add a node. A lost worker is replaced
    under a new name, so its later answers are known to be stale.

    Args:
        schedulers: each worker asks all of them in turn, starting with its own.
        on_warning: called with one line for each worker that is lost.
    """

    def __init__(
        self, plan: Plan, schedulers: Sequence[Any], on_warning: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._schedulers = list(schedulers)
        self._on_warning = on_warning
        self._dataset = ray.put(plan.dataset)
        self._conditioning: Any = None
        self._workers: dict[str, _Worker] = {}
        self._names = (f"worker-{number}" for number in itertools.count())
        self._start_after = self._look_after = 0.0
        self._failures = 0  # starts that failed since one went well
        self._crashes = 0  # workers that died since the last micro-batch came back
        self._n_micro_batches = 0
        self._reason = ""  # the reason of the last worker's failure
        self._error: RayError | None = None  # the last that one raised
        self._passed_on: set[str] = set()

    @property
    def n_running(self) -> int:
        """The number of workers that score."""
        return sum(worker.task == "run" for worker in self._workers.values())

    def resize(self, wanted: int, idle: Sequence[str]) -> None:
        """Start workers up to `wanted`, or end surplus ones, first those without a place."""
        surplus = len(self._workers) - wanted
        pending = [name for name, worker in self._workers.items() if worker.task == "start"]
        for name in [*pending, *idle][: max(0, surplus)]:
            if name in self._workers:
                self._end(name, blame=False)
        while len(self._workers) < wanted and time.monotonic() >= self._start_after:
            self._start()

    def watch(self, seconds: float, n_micro_batches: int) -> None:
        """Wait at most `seconds` for events of the workers, and handle them.

        Args:
            n_micro_batches: micro-batches answered so far; without progress, failures end the run.

        Raises:
            RunBrokenError: workers fail repeatedly, and no micro-batch is answered.
        """
        if n_micro_batches != self._n_micro_batches:  # a restarted scheduler may count less
            self._n_micro_batches, self._crashes, self._failures = n_micro_batches, 0, 0
        answers = {worker.answer: name for name, worker in self._workers.items() if worker.answer}
        if not answers:
            time.sleep(seconds)
        else:
            ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=seconds)
            for answer in ready:
                self._answered(answers[answer], answer)
        now = time.monotonic()
        if now >= self._look_after:
            self._look_after = now + _NODES_SECONDS
            self._leave(nodes.leaving())
            self.end_overdue(self._preparing_too_long(now))
        limit = self._plan.config.cluster.workers.max
        if self._failures >= max(_FAILURES, limit) or self._crashes >= _CRASHES + limit:
            raise RunBrokenError(f"every worker is lost ({self._reason})") from self._error

    def end_overdue(self, names: Iterable[str]) -> None:
        """Give up workers that are overdue, except those that wait for a store of images."""
        asked = {}
        for name in names:
            if name in self._workers:
                asked[self._workers[name].actor.waits_for_store.remote()] = name
            else:  # it spoke to a scheduler that was started again after it was given up
                self._tell_lost(name, blame=False)
        if not asked:
            return
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_SECONDS)
        leaving = nodes.leaving()
        for answer, name in asked.items():
            if answer not in ready or not _is_true(answer):
                worker = self._workers[name]
                scored = worker.task == "run"
                self._failures += not scored
                self._lost(name, "it does not answer", scored and worker.node not in leaving)

    def pass_on(self, notes: Iterable[str]) -> None:
        """Report each distinct warning of the workers once."""
        for note in notes:
            if note not in self._passed_on:
                self._passed_on.add(note)
                self._on_warning(note)

    def end(self) -> None:
        """End every worker; a long call ends only by force."""
        for worker in self._workers.values():
            ray.kill(worker.actor)
        self._workers.clear()

    def _start(self) -> None:
        config, name = self._plan.config, next(self._names)
        given = resources.options(config.cluster.gpus_per_worker, config.cluster.cpus_per_worker)
        actor = ModelWorker.options(**given).remote(  # type: ignore[attr-defined]
            config, self._plan.model.fingerprint
        )
        self._workers[name] = _Worker(actor, actor.ready.remote(), "start")

    def _answered(self, name: str, answer: Any) -> None:
        worker = self._workers[name]
        try:
            value = ray.get(answer)
        except RayError as error:
            self._failed(name, worker, error)
            return
        match worker.task:
            case "start":
                worker.node = value
                worker.task, worker.answer = "wait", None
            case "encode":
                conditioning, notes = value
                self.pass_on(notes)
                self._conditioning, self._failures = ray.put(conditioning), 0
                worker.task, worker.answer = "wait", None
            case "bind":
                self.pass_on(value)
                worker.task, worker.answer = "ready", None
            case "run":  # no scheduler has more work
                self._end(name, blame=False)
        self._set_to_work()

    def _set_to_work(self) -> None:
        """Let waiting workers score, after one of them has encoded the prompts."""
        waiting = [worker for worker in self._workers.values() if worker.task == "wait"]
        if self._conditioning is None:
            encoding = any(worker.task == "encode" for worker in self._workers.values())
            if waiting and not encoding:
                worker = waiting[0]
                worker.task, worker.since = "encode", time.monotonic()
                worker.answer = worker.actor.encode_prompts.remote(
                    self._plan.prompts, self._dataset, self._plan.todo[:N_CHECKED].tolist()
                )
            return
        for worker in waiting:
            worker.task, worker.since = "bind", time.monotonic()
            names = self._plan.classes.names
            worker.answer = worker.actor.bind.remote(self._dataset, self._conditioning, names)
        ready = [(n, worker) for n, worker in self._workers.items() if worker.task == "ready"]
        for name, worker in ready:
            first = int(name.rpartition("-")[2]) % len(self._schedulers)
            schedulers = self._schedulers[first:] + self._schedulers[:first]
            worker.task = "run"
            worker.answer = worker.actor.run.remote(name, schedulers)

    def _failed(self, name: str, worker: _Worker, error: RayError) -> None:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UserError) and not self._n_micro_batches:
            raise cause  # nothing is scored yet, and every worker will say the same
        self._error = error
        reason = last_line(error).split(". ")[0]  # the rest is Ray's list of possible causes
        scored = worker.task == "run"
        self._failures += not scored
        gone = isinstance(error, ActorUnavailableError) or "node has died" in str(error)
        self._lost(name, reason, blame=scored and not gone and worker.node not in nodes.leaving())
        self._set_to_work()

    def _leave(self, leaving: set[str]) -> None:
        """Take back the work of nodes that are about to leave, while they still answer."""
        for name, worker in list(self._workers.items()):
            if worker.node in leaving:
                self._lost(name, "its node is leaving", blame=False)

    def _preparing_too_long(self, now: float) -> list[str]:
        limit = _PREPARE_FACTOR * self._plan.config.cluster.hang_seconds
        return [
            name
            for name, worker in self._workers.items()
            if worker.task in ("encode", "bind") and now - worker.since > limit
        ]

    def _lost(self, name: str, reason: str, blame: bool) -> None:
        self._crashes += blame
        self._reason = reason
        in_a_row = max(self._failures, self._crashes - 1)
        if in_a_row > 0:  # one crash may be chance: replaced at once
            delay = min(_LONGEST_DELAY, 2.0 ** (in_a_row - 1))
            self._start_after = time.monotonic() + delay
        self._on_warning(f"{name} is lost ({reason})")
        self._end(name, blame)

    def _end(self, name: str, blame: bool) -> None:
        worker = self._workers.pop(name)
        ray.kill(worker.actor)
        self._tell_lost(name, blame)

    def _tell_lost(self, name: str, blame: bool) -> None:
        for scheduler in self._schedulers:
            # Not waited for: a scheduler that is being restarted is notified later.
            scheduler.lose.remote(name, blame)


def _is_true(answer: Any) -> bool:
    try:
        return bool(ray.get(answer))
    except RayError:
        return False
