"""The files of models in pipeline folders, as the entries of their families describe them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import ModelFiles
from zsd_ray.models.conditioning import labels
from zsd_ray.models.files import pipeline_folder, source
from zsd_ray.storage.store import Store


class PipelineFiles(ModelFiles):
    """Finds, checks and hashes a diffusers pipeline folder."""

    def check(self, config: ModelConfig, store: Store) -> Path:
        family = FAMILIES[config.family]
        folder = source.resolve(config, (*family.components, *family.optional), store)
        pipeline_folder.check(folder, family, config)
        return folder

    def fingerprint(self, folder: Path, config: ModelConfig, store: Store) -> str:
        return source.fingerprint(folder)

    def label_numbers(self, folder: Path, config: ModelConfig, prompts: Sequence[str]) -> list[int]:
        if FAMILIES[config.family].takes == "text":
            return []
        return sorted({*labels.label_numbers(folder, config, prompts).tolist()})

    def takes_null_prompt(self, folder: Path, config: ModelConfig) -> bool:
        if FAMILIES[config.family].takes == "text":
            return True
        return labels.null_label(folder, config) is not None
