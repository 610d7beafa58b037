"""The Python interface: `zsd_ray.run(RunConfig(...))`, what the command line does."""

from __future__ import annotations

import math
import posixpath
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zsd_ray.analysis.pilot import pilot_config, with_pilot
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.data.base import choose_subset
from zsd_ray.engine.plan import Plan, make_plan
from zsd_ray.engine.plan_sample import plan_sample
from zsd_ray.engine.stages import with_screen
from zsd_ray.engine.work import DoAll, do_here
from zsd_ray.models.registry import fingerprint
from zsd_ray.results.estimate import MIN_PILOT, Bounds, Estimate, estimate
from zsd_ray.results.fresh import free_path
from zsd_ray.results.heartbeat import refuse_second_driver
from zsd_ray.results.illustration_file import Illustrations
from zsd_ray.results.plan_sample import PlanSample
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

_PLAN_SECONDS = 10.0


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
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
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
    if config.method.takes_pilot:

        def run_pilot(pilot: RunConfig) -> RunResult:
            told = _stage_progress(pilot, on_progress)
            with wall.stage():
                return run(pilot, local=local, on_progress=told, on_warning=on_warning)

        plan = with_pilot(plan, run_pilot)

    def run_stage(stage: Plan) -> RunResult:
        with wall.stage():
            return run_plan(stage, local, _stage_progress(stage.config, on_progress), on_warning)

    plan = with_screen(plan, run_stage)
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
        filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
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

    A run that takes a pilot is checked with the pilot's times and weights.

    Args:
        on_pass: called with how many of all passes over an image are done.

    Raises:
        UserError: bad input, a model without a fast path, or more than model.max_difference.
    """
    from zsd_ray.engine.model_check import check_numbers, refuse_difference

    if n_images < 1:
        raise UserError(f"--images must be at least 1, but came {n_images}")
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    plan = make_plan(config)
    images = choose_subset(plan.dataset.records, n_images)
    found = check_numbers(
        pilot_config(plan.config) if plan.config.method.takes_pilot else plan.config,
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
    filesystem.configure(storage or config.storage, retry_seconds=_PLAN_SECONDS)
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
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
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
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
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
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    return _with(config, output={"path": free_path(config.output.path)})


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    sample: its first classes, with a label, the prompts and an image of each.
    pilot: the totals of a pilot's run (as those of run.json), estimate: what follows from them.
    """

    bounds: Bounds
    sample: PlanSample
    estimate: Estimate | None = None
    pilot: Mapping[str, Any] | None = None


def forecast(
    config: RunConfig,
    *,
    pilot: int | None = None,
    price: float | None = None,
    local: bool = False,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
) -> Forecast:
    """Check a run as `run` does before it starts; its output is neither made nor written.

    Args:
        pilot: also run so many of the images, in a temporary place, and estimate from them.
        price: of a GPU, in dollars an hour.
        local, on_progress, on_warning: of the pilot, as for `run`.

    Raises:
        UserError: bad input.
        RunBrokenError, StoreError: the pilot broke off.
    """
    if pilot is None and price is not None:
        raise UserError("--price needs --pilot N: a cost follows from measured speed")
    if price is not None and not (0 < price < math.inf and config.cluster.gpus_per_worker):
        raise UserError(
            f"--price takes the dollars that a GPU costs an hour, but came {price:g} with "
            f"cluster.gpus_per_worker {config.cluster.gpus_per_worker:g}; both must be above 0"
        )
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    plan = make_plan(config)
    bounds, first = plan.bounds, plan_sample(plan, config)
    if pilot is None:
        return Forecast(bounds, first)
    n_pilot = min(pilot, bounds.n_images)
    if n_pilot < MIN_PILOT:
        raise UserError(
            f"--pilot needs {MIN_PILOT} images to judge from, but came {pilot} for a run of "
            f"{bounds.n_images}"
        )
    if not bounds.n_todo:
        raise UserError("--pilot: nothing is left to estimate; every image of the run is done")
    with tempfile.TemporaryDirectory(prefix="zsd-ray-pilot-") as folder:
        sample = _with(
            config,
            data={"limit": n_pilot},
            output={"path": folder, "raw_scores": False},
            tracking={"mlflow": "off"},
            **({"screen": {"audit": 0}} if config.screen else {}),
        )
        result = run(sample, local=local, on_progress=on_progress, on_warning=on_warning)
    rows = result.table.to_pylist()
    errors = [row["error"] for row in rows if row["error"] is not None]
    rows = [row for row in rows if row["error"] is None]
    if len(rows) < MIN_PILOT:
        raise UserError(
            f"--pilot: only {len(rows)} of {n_pilot} images could be classified ({errors[0]})"
        )
    if config.screen is not None and config.screen.tree is not None:
        for row in rows:
            row["n_evaluations"] += row["n_screen_evaluations"] or 0
    return Forecast(bounds, first, estimate(bounds, rows, price), result.metrics)


def _with(config: RunConfig, **sections: Mapping[str, Any]) -> RunConfig:
    """The configuration with some keys of some sections replaced."""
    changed = {
        name: getattr(config, name).model_copy(update=keys) for name, keys in sections.items()
    }
    return config.model_copy(update=changed)
