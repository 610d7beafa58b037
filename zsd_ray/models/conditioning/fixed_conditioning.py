"""What a denoiser is told of classes when it is not asked about one: the same for all images."""

from __future__ import annotations

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.labels import is_unconditional
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.registry import check_model, check_null_prompt, check_prompts, encode_prompts
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store


def check_told(config: ModelConfig, prompt: str, store: Store) -> None:
    """Check that a model can be told `prompt`: a text, a label of its own, or "" for nothing.

    Raises:
        UserError: it cannot.
    """
    if _takes_nothing(config, store):
        if prompt:
            raise UserError(
                f"prompt {prompt!r}: model.path {config.path} is unconditional and takes none; "
                "leave prompt out"
            )
    elif prompt:
        check_prompts(config, [prompt], store)
    else:
        check_null_prompt(config, store, 'prompt ""', "the name of one of its labels")


def told(config: ModelConfig, prompt: str, store: Store) -> Conditioning:
    """One row of what `encode_prompts` gives; empty for a model that takes nothing."""
    return {} if _takes_nothing(config, store) else encode_prompts(config, [prompt], store)


def _takes_nothing(config: ModelConfig, store: Store) -> bool:
    family = FAMILIES[config.family]
    if family.takes != "labels" or family.checks:
        return False
    return is_unconditional(check_model(config, store))
