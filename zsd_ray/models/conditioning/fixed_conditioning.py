"""Fixed conditioning (a text, a label or none), for uses that do not iterate over classes."""

from __future__ import annotations

from zsd_ray.models.conditioning.labels import is_unconditional
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.registry import ResolvedModel
from zsd_ray.records.errors import UserError


def check_fixed_conditioning(model: ResolvedModel, prompt: str) -> None:
    """Check that a model can be conditioned on `prompt`: a text, one of its labels, or "" for
    nothing.

    Raises:
        UserError: it cannot.
    """
    if _takes_nothing(model):
        if prompt:
            raise UserError(
                f"prompt {prompt!r}: model.path {model.config.path} is unconditional and takes "
                "none; leave prompt out"
            )
    elif prompt:
        model.check_prompts([prompt])
    else:
        model.check_null_prompt('prompt ""', "the name of one of its labels")


def fixed_conditioning(model: ResolvedModel, prompt: str) -> Conditioning:
    """Return one row of `encode_prompts`; empty for an unconditional model."""
    return {} if _takes_nothing(model) else model.encode_prompts([prompt])


def _takes_nothing(model: ResolvedModel) -> bool:
    family = model.family
    return family.takes == "labels" and family.is_pipeline and is_unconditional(model.folder)
