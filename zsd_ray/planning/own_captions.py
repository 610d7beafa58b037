"""Runs whose images have their own captions: these become the run's classes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from zsd_ray.config.run import ResolvedConfig
from zsd_ray.data.captioned.captions import CaptionTable
from zsd_ray.planning.candidates import CandidateTable
from zsd_ray.records.errors import UserError


def with_captions(config: ResolvedConfig) -> ResolvedConfig:
    """Return the configuration with plain captions as prompts, unless templates are set.

    Raises:
        UserError: a key that does not go with captions.
    """
    if config.prompts.classes is not None:
        raise UserError(
            "prompts.classes has no use where each image has captions of its own; remove it"
        )
    if config.screen is not None:
        raise UserError(
            "screen has no use where each image has captions of its own, which are few; remove it"
        )
    if "templates" in config.prompts.model_fields_set:
        return config
    prompts = config.prompts.model_copy(update={"templates": ["{}"]})
    return config.model_copy(update={"prompts": prompts})


def as_candidates(captions: CaptionTable) -> CandidateTable:
    """Return the captions of each image as the candidates of its race."""
    numbers = np.arange(len(captions.texts), dtype=np.int32)
    listed = np.ones(len(captions.choices), dtype=bool)
    return CandidateTable(captions.choices, numbers, None, listed, screened=False)


def identity_part(captions: CaptionTable) -> dict[str, Any]:
    """Return a hash of which captions each image has; their texts are the run's classes."""
    digest = hashlib.blake2b(captions.choices.astype("<i4").tobytes(), digest_size=8)
    return {"most": captions.choices.shape[1], "choices": digest.hexdigest()}
