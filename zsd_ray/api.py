"""The Python interface: `zsd_ray.run(RunConfig(...))`, what the command line does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zsd_ray.data.base import choose_subset
from zsd_ray.engine.plan import make_plan
from zsd_ray.results.estimate import MIN_PILOT, Bounds, Estimate, estimate
from zsd_ray.results.fresh import free_path
from zsd_ray.results.heartbeat import refuse_second_driver
from zsd_ray.results.run_file import Status
from zsd_ray.session import OnProgress, OnWarning, RunResult, Session
from zsd_ray.spec.config import RunConfig
from zsd_ray.spec.errors import UserError
from zsd_ray.storage import filesystem

if TYPE_CHECKING:  # torch takes seconds to import
    from zsd_ray.engine.model_check import ModelCheck

_PLAN_SECONDS = 10.0


def run(
    config: RunConfig,
    *,
    local: bool = False,
    on_progress: OnProgress | None = None,
    on_warning: OnWarning = print,
) -> RunResult:
    """Classify the images that `config` names, or go on with an interrupted run of it.

    Args:
        local: in this process, without Ray.
        on_progress: called a few times a second.
        on_warning: called with one line when something goes wrong that does not stop the run.

    Raises:
        UserError: bad input, or another process is at this run; nothing was started.
        RunBrokenError, StoreError: it cannot go on; the same call does later.
        KeyboardInterrupt: what was decided is written, and the same call goes on.
    """
    # A mistyped endpoint should not be waited for as an outage is.
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    plan = make_plan(config)
    refuse_second_driver(config.output.path, on_warning)
    plan.output.prepare()
    filesystem.configure(config.storage)
    session = Session(plan, on_progress, on_warning)
    status: Status = "failed"
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
    except KeyboardInterrupt:
        status = "interrupted"
        # Somebody waits: what is to be written now is tried, and not waited for.
        filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
        raise
    finally:
        result = session.close(status)
    return result


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
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
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

    pilot: the totals of a pilot's run (as those of run.json), estimate: what follows from them.
    """

    bounds: Bounds
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
    if price is not None and not (price > 0 and config.cluster.gpus_per_worker):
        raise UserError(
            f"--price takes the dollars that a GPU costs an hour, but came {price:g} with "
            f"cluster.gpus_per_worker {config.cluster.gpus_per_worker:g}; both must be above 0"
        )
    filesystem.configure(config.storage, retry_seconds=_PLAN_SECONDS)
    bounds = make_plan(config).bounds
    if pilot is None:
        return Forecast(bounds)
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
        )
        result = run(sample, local=local, on_progress=on_progress, on_warning=on_warning)
    rows = result.table.to_pylist()
    errors = [row["error"] for row in rows if row["error"] is not None]
    rows = [row for row in rows if row["error"] is None]
    if len(rows) < MIN_PILOT:
        raise UserError(
            f"--pilot: only {len(rows)} of {n_pilot} images could be classified ({errors[0]})"
        )
    return Forecast(bounds, estimate(bounds, rows, price), result.metrics)


def _with(config: RunConfig, **sections: Mapping[str, Any]) -> RunConfig:
    """The configuration with some keys of some sections replaced."""
    changed = {
        name: getattr(config, name).model_copy(update=keys) for name, keys in sections.items()
    }
    return config.model_copy(update=changed)
