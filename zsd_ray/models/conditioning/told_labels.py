"""Adapters of models in pipeline folders that are conditioned on labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.conditioning.labels import labels_or_null
from zsd_ray.models.denoiser import Conditioning


class ToldLabels(Adapter):
    """An `Adapter` whose prompts are names of labels."""

    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `labels`: the label of each name, (N,) int64; the empty name means the null
        label."""
        return {"labels": labels_or_null(folder, config, prompts)}
