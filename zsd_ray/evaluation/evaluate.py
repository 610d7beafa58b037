"""`run`: one evaluation, from its configuration to its report."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from zsd_ray.config.run import RunConfig
from zsd_ray.evaluation.session import (
    OnProgress,
    RunResult,
    Session,
    WallTime,
    as_before,
)
from zsd_ray.evaluation.stages import stages_of
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.planning.plan import Plan
from zsd_ray.results.heartbeat import refuse_second_driver
from zsd_ray.results.job import PLAN_SECONDS, OnWarning, planning
from zsd_ray.results.places import free_path
from zsd_ray.storage.store import Store


def run(
    config: RunConfig,
    *,
    local: bool = False,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
    began: float | None = None,
) -> RunResult:
    """Classify the images that `config` names, or resume an interrupted run of it.

    Args:
        local: in this process, without Ray.
        on_progress: called a few times a second.
        on_warning: called with one line when something goes wrong that does not stop the run.
        began: start of the run's wall time, by time.monotonic; None: this call.

    Raises:
        UserError: bad input, or another process works on this run; nothing was started.
        RunBrokenError, StoreError: it cannot continue now; the same call resumes it later.
        KeyboardInterrupt: decided images are written, and the same call resumes the run.
    """
    wall = WallTime(began)
    with planning(config) as store:
        plan = make_plan(config, store=store)
        _take_place(plan, on_warning)
    return _work(plan, local, on_progress, on_warning, wall)


def run_plan(
    plan: Plan,
    local: bool,
    on_progress: OnProgress | None,
    on_warning: OnWarning,
    wall: WallTime | None = None,
) -> RunResult:
    """Run an existing plan, like `run`."""
    _take_place(plan, on_warning)
    return _work(plan, local, on_progress, on_warning, wall or WallTime())


def _take_place(plan: Plan, on_warning: OnWarning) -> None:
    """Refuse an output that another process works on, or that cannot be written to."""
    refuse_second_driver(plan.output.path, plan.store, on_warning)
    plan.output.prepare()


def _work(
    plan: Plan,
    local: bool,
    on_progress: OnProgress | None,
    on_warning: OnWarning,
    wall: WallTime,
) -> RunResult:
    """Do the rest of a plan in an output that it owns: first its stages, then its own images."""
    _repair(plan, on_warning)
    before: Plan | None = None
    for stage in stages_of(plan):
        own = stage.plan(plan, before)
        if own.has_work:
            with wall.stage():
                _take_place(own, on_warning)
                _repair(own, on_warning)
                progress = _stage_progress(own.config, on_progress)
                Session(own, local, progress, on_warning).run()
        plan, before = replace(plan, race=stage.found(plan, own)), own
    if plan.nothing_to_do and not wall.stages:
        return as_before(plan)
    return Session(plan, local, on_progress, on_warning, wall).run()


def _repair(plan: Plan, on_warning: OnWarning) -> None:
    """Repair damaged files of the output."""
    for line in plan.repairs.make(plan.output, plan.records):
        on_warning(line)


def _stage_progress(stage: RunConfig, on_progress: OnProgress | None) -> OnProgress | None:
    """Report the progress of a stage before the run, under the name of its folder."""
    if on_progress is None:
        return None
    name = posixpath.basename(stage.output.path)
    return lambda progress: on_progress(replace(progress, stage=name))


def in_fresh_place(config: RunConfig) -> RunConfig:
    """Return the configuration with a free output: output.path, or that with -2, -3, ...

    Raises:
        UserError: the output's store does not answer.
    """
    store = Store(config.storage, PLAN_SECONDS)
    output = config.output.model_copy(update={"path": free_path(config.output.path, store)})
    return config.model_copy(update={"output": output})
