"""The noise schedule and parametrisation of a pipeline folder, from the configuration of its
scheduler, whichever sampler that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from zsd_ray.config.training import Objective
from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule, Schedule
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.samplers import is_flow, scheduler_file
from zsd_ray.models.torchvision_ops import declare_missing_operators

_PREDICTION_TYPE = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}


def folder_schedule(folder: Path) -> tuple[Schedule, Parametrisation]:
    """Return the schedule and the parametrisation of a checked pipeline folder."""
    return _described(read_object(scheduler_file(folder)))


def schedule_of(scheduler: Any) -> tuple[Schedule, Parametrisation]:
    """Return the schedule and the parametrisation of a diffusers scheduler."""
    return _described({**scheduler.config, "_class_name": type(scheduler).__name__})


def new_scheduler(objective: Objective, **chain: Any) -> Any:
    """Make a diffusers scheduler for a network that is trained with an objective.

    Args:
        chain: the arguments of `DDPMScheduler`; not used for a flow.
    """
    declare_missing_operators()
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

    if objective == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    return DDPMScheduler(prediction_type=_PREDICTION_TYPE[objective], **chain)


def _described(config: dict[str, Any]) -> tuple[Schedule, Parametrisation]:
    if is_flow(config):
        # The library tells the network its sigma, which is t, times this.
        return FlowSchedule(scale=float(config.get("num_train_timesteps", 1000))), "flow"
    if config.get("_class_name", "").startswith("EDM"):  # its adapter returns the denoised image
        ramp = (float(config[key]) for key in ("sigma_min", "sigma_max", "rho"))
        return KarrasSchedule(*ramp), "sample"
    declare_missing_operators()
    from diffusers import DDPMScheduler

    # Not its alphas_cumprod: that product is float32, ours is float64.
    betas = DDPMScheduler.from_config(config).betas
    prediction = config.get("prediction_type", "epsilon")
    schedule = DiscreteSchedule.from_betas(betas.double().numpy())
    return schedule, cast(Parametrisation, prediction)  # which the folder's check has seen
