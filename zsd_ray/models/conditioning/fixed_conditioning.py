"""What a denoiser is told of classes when it is not asked about one: the same for all images."""

from __future__ import annotations

from zsd_ray.models.conditioning.labels import is_unconditional
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.registry import ResolvedModel
from zsd_ray.records.errors import UserError


def check_told(model: ResolvedModel, prompt: str) -> None:
    """Check that a model can be told `prompt`: a text, a label of its own, or "" for nothing.

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


def told(model: ResolvedModel, prompt: str) -> Conditioning:
    """One row of what `encode_prompts` gives; empty for a model that takes nothing."""
    return {} if _takes_nothing(model) else model.encode_prompts([prompt])


def _takes_nothing(model: ResolvedModel) -> bool:
    family = model.family
    return family.takes == "labels" and family.is_pipeline and is_unconditional(model.folder)
