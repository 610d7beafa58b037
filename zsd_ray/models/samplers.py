"""Checks that a sampler fits a model, without loading the libraries."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig
from zsd_ray.config.sampler import SamplerConfig
from zsd_ray.models.files.model_json import read_object
from zsd_ray.records.errors import UserError

OF_CHAINS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""Those that diffusers says to be compatible with one another, but for EDM's own, and for
DPMSolverSDE's, whose noise is that of a whole batch."""
OF_FLOWS = ("FlowMatchEulerDiscreteScheduler",)
"""The one that moves its times to more noise for larger images, as these models want it."""


def is_flow(scheduler: Mapping[str, Any]) -> bool:
    """Whether a scheduler's configuration is that of flow matching on a straight path."""
    return scheduler.get("_class_name") in OF_FLOWS


def scheduler_file(folder: Path) -> Path:
    """Return the scheduler configuration file of a pipeline folder."""
    return folder / "scheduler" / "scheduler_config.json"


def check_sampler(config: ModelConfig, folder: Path, sampler: SamplerConfig) -> None:
    """Check that a sampler fits a checked model.

    Args:
        folder: found by `registry.resolve_model`.

    Raises:
        UserError: it does not; names the samplers that do.
    """
    n_steps = _chain_length(folder)
    if n_steps is not None and sampler.steps > n_steps:
        raise UserError(
            f"sampler.steps {sampler.steps} is more than the {n_steps} steps of this model's "
            f"chain; set at most {n_steps}"
        )
    if sampler.own:
        return
    library = _library_names(config, folder)
    if sampler.name not in library:
        names = ("ddim", "ddpm", *library)
        near = difflib.get_close_matches(sampler.name, names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(
            f"sampler.name {sampler.name} cannot sample model.family {config.family}{hint}; "
            f"allowed: {', '.join(names)}"
        )


def _library_names(config: ModelConfig, folder: Path) -> tuple[str, ...]:
    if not FAMILIES[config.family].is_pipeline or config.family == "edm":
        return ()
    flow = not FAMILIES[config.family].predictions or is_flow(read_object(scheduler_file(folder)))
    return OF_FLOWS if flow else OF_CHAINS


def _chain_length(folder: Path) -> int | None:
    """Return the number of steps of the scheduler's configuration; None if there are no betas."""
    path = scheduler_file(folder)
    if not path.is_file():
        return None
    content = read_object(path)
    if "beta_schedule" not in content and content.get("trained_betas") is None:
        return None
    return int(content.get("num_train_timesteps", 1000))
