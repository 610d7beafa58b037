"""The Python interface: `zsd_ray.run(RunConfig(...))`, what the command line does."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from zsd_ray.analysis.class_offset import with_class_offset
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.data.base import choose_subset
from zsd_ray.engine.plan import Plan, make_plan
from zsd_ray.engine.stages import with_screen
from zsd_ray.engine.work import DoAll, do_here
from zsd_ray.models.registry import fingerprint
from zsd_ray.results.fresh import free_path
from zsd_ray.results.heartbeat import refuse_second_driver
from zsd_ray.results.illustration_file import Illustrations
from zsd_ray.results.run_file import Status
from zsd_ray.runtime.job import refuse_relative, refuse_relative_place
from zsd_ray.session import OnProgress, OnWarning, RunResult, Session, WallTime, as_before
from zsd_ray.spec.config import ClusterConfig, RunConfig, StorageConfig
from zsd_ray.spec.errors import StoreError, UserError
from zsd_ray.spec.secrets import redact
from zsd_ray.storage import filesystem

if TYPE_CHECKING:  # torch takes seconds to import
    from zsd_ray.engine.fid import FidResult
    from zsd_ray.engine.generate import Generated
    from zsd_ray.engine.model_check import ModelCheck
    from zsd_ray.spec.fid_config import FidConfig
    from zsd_ray.spec.generate_config import GenerateConfig
    from zsd_ray.spec.train_config import TrainConfig
    from zsd_ray.training.run import OnProgress as OnTrainProgress
    from zsd_ray.training.run import TrainResult

PLAN_SECONDS = 10.0
"""How long a store that does not answer is asked again before anything has begun."""


def run(
    config: RunConfig,
    *,
    local: bool = False,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
    began: float | None = None,
) -> RunResult:
    """Classify the images that `config` names, or go on with an interrupted run of it.

    Args:
        local: in this process, without Ray.
        on_progress: called a few times a second.
        on_warning: called with one line when something goes wrong that does not stop the run.
        began: when the run's wall time begins, by time.monotonic; None: with this call.

    Raises:
        UserError: bad input, or another process is at this run; nothing was started.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
        KeyboardInterrupt: what was decided is written, and the same call goes on.
    """
    wall = WallTime(began)
    refuse_relative(config.model_dump(mode="json"))
    # A mistyped endpoint should not be waited for as an outage is.
    filesystem.configure(config.storage, retry_seconds=PLAN_SECONDS)
    return run_plan(make_plan(config), local, on_progress, on_warning, wall)


def run_plan(
    plan: Plan,
    local: bool,
    on_progress: OnProgress | None,
    on_warning: OnWarning,
    wall: WallTime | None = None,
) -> RunResult:
    """As `run`, of what was planned before."""
    config, wall = plan.config, wall or WallTime()
    refuse_second_driver(config.output.path, on_warning)
    plan.output.prepare()
    filesystem.configure(config.storage)
    for line in plan.repairs.make(plan.output, plan.records):
        on_warning(line)

    def run_stage(stage: Plan) -> RunResult:
        with wall.stage():
            return run_plan(stage, local, _stage_progress(stage.config, on_progress), on_warning)

    plan = with_screen(with_class_offset(plan, run_stage), run_stage)
    if plan.nothing_to_do and not wall.stages:
        return as_before(plan)
    session = Session(plan, on_progress, on_warning, wall)
    status: Status = "failed"
    result: RunResult | None = None
    try:
        if plan.todo:
            if local:
                from zsd_ray.engine.local import run_local

                run_local(plan, session.update)
            else:
                from zsd_ray.runtime.driver import run_on_ray

                run_on_ray(plan, session.update, on_warning)
        status = "finished"
        plan.output.remove_checkpoints()
        plan.repairs.remove_orphans(plan.output)
    except KeyboardInterrupt:
        status = "interrupted"
        # Somebody waits: what is to be written now is tried, and not waited for.
        filesystem.configure(config.storage, retry_seconds=PLAN_SECONDS)
        raise
    finally:
        try:
            result = session.close(status)
        except StoreError as error:
            if status == "finished":
                raise
            # What broke the run says more than that its end could not be written down either.
            on_warning(f"the end of the run is not written down: {error}")
    assert result is not None
    return result


def _stage_progress(stage: RunConfig, on_progress: OnProgress | None) -> OnProgress | None:
    """Pass on the progress of what comes before a run, under the name of its folder."""
    if on_progress is None:
        return None
    name = posixpath.basename(stage.output.path)
    return lambda progress: on_progress(replace(progress, stage=name))


def check_model(
    config: RunConfig, n_images: int, on_pass: Callable[[int, int], None] = lambda done, all: None
) -> ModelCheck:
    """Compare a model's fast path with plain float32, in this process, on some of its images.

    Args:
        on_pass: called with how many of all passes over an image are done.

    Raises:
        UserError: bad input, a model without a fast path, or more than model.max_difference.
    """
    from zsd_ray.engine.model_check import check_numbers, refuse_difference

    if n_images < 1:
        raise UserError(f"--images must be at least 1, but came {n_images}")
    filesystem.configure(config.storage, retry_seconds=PLAN_SECONDS)
    plan = make_plan(config)
    images = choose_subset(plan.dataset.records, n_images)
    found = check_numbers(
        plan.config,
        plan.dataset,
        plan.prompts,
        list(images),
        lambda done: on_pass(done, 2 * len(images)),
    )
    refuse_difference(plan.config, found)
    return found


def illustrate(
    path: str,
    n_images: int = 2,
    *,
    storage: StorageConfig | None = None,
    on_part: Callable[[int, int], None] = lambda done, all: None,
) -> Illustrations:
    """Show what the model of a run makes of some of its images, in this process.

    Writes illustrations.html and the folder illustrations/ into the run's output; the run may still
    be going on.

    Args:
        path: the run's output, a folder or a URL.
        storage: how s3:// is reached; None: to what the run names, as its own section says.
        on_part: called with how many of all parts are done.

    Raises:
        UserError: there is no such run, no image of it has a prediction, or its model or data are
            not there as they were.
    """
    if n_images < 1:
        raise UserError(f"--images must be at least 1, but came {n_images}")
    refuse_relative_place("RUN", path)
    run = open_run(path)
    config = run.config
    filesystem.configure(storage or config.storage, retry_seconds=PLAN_SECONDS)
    from zsd_ray.engine import illustrate as engine
    from zsd_ray.reports.illustrations import render_illustrations

    chosen = engine.choose(run.read("decisions", engine.COLUMNS), n_images)
    if not chosen:
        raise UserError(f"{run.name} has no image with a prediction yet; let it decide some")
    own = run.record.part("model", run.output.shown("run.json"))
    if fingerprint(config.model) != own.get("fingerprint"):
        raise UserError(f"model.path {redact(config.model.path)} is not what {run.name} ran on")
    names = run.record.classes
    found = engine.illustrate(config, names, chosen, engine.SETTINGS, run.name, on_part)
    for name, content in found.files().items():
        run.output.write_bytes(name, content)
    run.output.write_bytes("illustrations.html", render_illustrations(found).encode())
    return found


def generate(
    config: GenerateConfig,
    *,
    local: bool = False,
    on_part: Callable[[int, int], None] = lambda done, all: None,
    on_warning: OnWarning = print,
) -> Generated:
    """Make the images that `config` describes, or go on with an interrupted set of them.

    Args:
        local: in this process, without Ray.
        on_part: called with how many of all images are done.

    Raises:
        UserError: bad input; nothing was started.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    from zsd_ray.engine import generate as engine

    refuse_relative(config.model_dump(mode="json"))
    filesystem.configure(config.storage, retry_seconds=PLAN_SECONDS)
    job = engine.plan_images(config)
    filesystem.configure(config.storage)
    do_all = _do_all(local, config.cluster, config.storage, config.model.device)
    return engine.generate(job, do_all, on_part, on_warning)


def fid(
    config: FidConfig,
    *,
    local: bool = False,
    on_images: Callable[[int, int], None] = lambda done, all: None,
    on_warning: OnWarning = print,
) -> FidResult:
    """Measure FID and KID of the generated images that `config` names against the real ones.

    Args:
        local: in this process, without Ray.
        on_images: called with how many images were seen, of how many.

    Raises:
        UserError: bad input; or an image cannot be read.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    from zsd_ray.engine import fid as engine

    refuse_relative(config.model_dump(mode="json"))
    filesystem.configure(config.storage, retry_seconds=PLAN_SECONDS)
    job = engine.plan_fid(config)
    filesystem.configure(config.storage)
    do_all = _do_all(local, config.cluster, config.storage, config.device)
    return engine.measure(job, do_all, on_images, on_warning)


def _do_all(local: bool, cluster: ClusterConfig, storage: StorageConfig, device: str) -> DoAll:
    """Who does independent pieces of work: this process, or a crew on Ray."""
    if local:
        return do_here
    from zsd_ray.runtime.crew import Crew

    return Crew(cluster, storage, device)


def train(
    config: TrainConfig,
    *,
    local: bool = False,
    on_progress: OnTrainProgress = lambda steps, images_per_second: None,
    on_warning: OnWarning = print,
) -> TrainResult:
    """Train the model that `config` describes, or go on with an interrupted training of it.

    Args:
        local: in this process, without Ray.
        on_progress: called now and then with the last steps and images/s.

    Raises:
        UserError: bad input; nothing was started, or an image cannot be read.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
    """
    from zsd_ray.training import run as training

    refuse_relative(config.model_dump(mode="json"))
    execute: training.Execute
    if local:
        from zsd_ray.training.work import train_here

        execute = train_here
    else:
        from zsd_ray.runtime.training import train_on_ray

        execute = train_on_ray
    return training.train(config, execute, on_progress, on_warning)


def in_fresh_place(config: RunConfig) -> RunConfig:
    """The same run, with an output where nothing is yet: output.path, or that with -2, -3, ...

    Raises:
        UserError: the output's store does not answer.
    """
    filesystem.configure(config.storage, retry_seconds=PLAN_SECONDS)
    output = config.output.model_copy(update={"path": free_path(config.output.path)})
    return config.model_copy(update={"output": output})
