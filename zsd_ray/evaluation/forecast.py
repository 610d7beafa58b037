"""The forecast of a run's cost, which `zsd-ray plan` shows before anything is spent."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.run import RunConfig
from zsd_ray.diffusion.time_range import NoiseLevels, noise_levels
from zsd_ray.evaluation.evaluate import run
from zsd_ray.evaluation.session import OnProgress
from zsd_ray.planning.estimate import MIN_PILOT, Bounds, Estimate, estimate
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.planning.plan import Plan
from zsd_ray.planning.plan_sample import plan_sample
from zsd_ray.records.errors import UserError
from zsd_ray.results.job import PLAN_SECONDS, OnWarning
from zsd_ray.results.sample_file import PlanSample
from zsd_ray.storage.store import Store


@dataclass(frozen=True)
class Forecast:
    """The expected cost of a run.

    sample: its first classes, each with a label, the prompts and an image.
    noise_levels: noise levels of its draws; None: it has no timesteps, or its schedule is known
        only once the model is loaded.
    pilot: the totals of a pilot run (as in run.json); estimate: the estimate derived from them.
    """

    bounds: Bounds
    sample: PlanSample
    noise_levels: NoiseLevels | None = None
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
        pilot: also run this many images, with a temporary output, and estimate from them.
        price: of a GPU, in dollars per hour.
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
    store = Store(config.storage, PLAN_SECONDS)
    plan = make_plan(config, store=store)
    bounds, first = plan.bounds, plan_sample(plan, config)
    levels = _noise_levels(plan)
    if pilot is None:
        return Forecast(bounds, first, levels)
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
    return Forecast(bounds, first, levels, estimate(bounds, rows, price), result.metrics)


def _noise_levels(plan: Plan) -> NoiseLevels | None:
    method = plan.config.method
    if not isinstance(method, DiffusionClassifierMethod) or not method.weighted:
        return None
    found = plan.model.schedule()
    try:
        return None if found is None else noise_levels(found, method)
    except ValueError as error:
        raise UserError(f"method.{error}") from error


def _with(config: RunConfig, **sections: Mapping[str, Any]) -> RunConfig:
    """Return the configuration with some keys of some sections replaced."""
    changed = {
        name: getattr(config, name).model_copy(update=keys) for name, keys in sections.items()
    }
    return config.model_copy(update=changed)
