"""The files of a feature extractor, checked and hashed before anything is loaded."""

from __future__ import annotations

from typing import Any

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.fixed_conditioning import check_fixed_conditioning
from zsd_ray.models.features.block_names import block_names
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store
from zsd_ray.studies.fid.fid_config import DenoiserExtractor, ExtractorConfig, InceptionExtractor

_OF_MODEL = ("family", "dtype", "image_size", "labels", "max_prompt_tokens", "kwargs")


def check_extractor(config: ExtractorConfig, store: Store) -> dict[str, Any]:
    """Check an extractor's files; return everything that its numbers depend on, as plain values.

    Raises:
        UserError: what is missing or does not fit.
    """
    tree = config.model_dump(mode="json", exclude={"device", "model", "path", "weights"})
    if isinstance(config, InceptionExtractor):
        from zsd_ray.models.features.inception import check_weights

        return tree | {"sha256": check_weights(config.weights)}
    if isinstance(config, DenoiserExtractor):
        family = FAMILIES[config.model.family]
        if "features" not in family.abilities:
            able = [name for name, other in FAMILIES.items() if "features" in other.abilities]
            raise UserError(
                f"extractor.model.family {config.model.family} does not show what its blocks make "
                f"of an image; those that do: {', '.join(able)}"
            )
        model = config.model
        found = resolve_model(model, store)
        blocks = block_names(found.folder)
        if config.block not in blocks:
            raise UserError(
                f"extractor.block {config.block} is none of this model's: {', '.join(blocks)}"
            )
        check_fixed_conditioning(found, config.prompt)
        kept = model.model_dump(mode="json", include=set(_OF_MODEL))
    else:
        model = ModelConfig(family=config.kind, path=config.path, pretrained=config.pretrained)
        kept = {}
        try:
            found = resolve_model(model, store)
        except UserError as error:
            raise UserError(f"extractor: {error}") from error
    return tree | {"model": kept | {"fingerprint": found.fingerprint}}
