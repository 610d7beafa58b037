"""The pilot of a run whose weights or times depend on how errors spread over t.

The first of the run's own images (those of `data.limit`) are scored for all classes and every draw
of the pilot, as a run of its own at OUTPUT/pilot. What follows is frozen in OUTPUT/profile.json,
and the images are then scored like the rest. No label is looked at, and the pilot's noise is its
own, so the run's draws are independent of the profile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.weighting_fit import standardised_profile
from zsd_ray.engine.plan import Plan
from zsd_ray.results.profile_file import read_profile, write_profile
from zsd_ray.spec.config import RunConfig
from zsd_ray.spec.pruning import NoPruning

_OTHER_SEED = 2**62  # a bit of the seed that people do not set


def with_pilot(plan: Plan, run: Callable[[RunConfig], object]) -> Plan:
    """Return the plan with the profile of its pilot, which `run` is called for where needed.

    Raises:
        UserError: none of the pilot's images could be scored, or they tell no classes apart.
    """
    file = plan.output.location("profile.json")
    # Without run.json the pilot may be another's: its own run.json says so.
    profile = read_profile(file) if plan.previous is not None else None
    if profile is None:
        config = pilot_config(plan.config)
        run(config)
        profile = standardised_profile(open_run(config.output.path))
        write_profile(file, profile)
    method = plan.config.draw_method.with_profile(profile)
    return replace(
        plan,
        config=plan.config.model_copy(update={"method": method}),
        pilot_evaluations=profile.fitted_on.evaluations,
    )


def pilot_config(config: RunConfig) -> RunConfig:
    """The run that a planned run's pilot is."""
    n_images = min(
        config.draw_method.pilot.images, config.data.limit or config.draw_method.pilot.images
    )
    output = f"{config.output.path.rstrip('/')}/pilot"
    return config.model_copy(
        update={
            "method": config.draw_method.for_pilot(),
            "pruning": NoPruning(rule="none", draws=config.draw_method.pilot.draws),
            "screen": None,
            "data": config.data.model_copy(update={"limit": n_images}),
            "output": config.output.model_copy(update={"path": output, "raw_scores": True}),
            "tracking": config.tracking.model_copy(update={"mlflow": "off"}),
            "seed": config.seed ^ _OTHER_SEED,
        }
    )
