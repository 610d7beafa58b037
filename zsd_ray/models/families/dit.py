"""DiT (Peebles & Xie 2023): a transformer over latents, conditioned on a label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.told_labels import ToldLabels
from zsd_ray.models.network_denoiser import LatentDenoiser


class DiT(LatentDenoiser):
    """A `Denoiser` over a VAE and a DiTTransformer2DModel; its size is fixed."""

    network_class = "DiTTransformer2DModel"
    component = "transformer"

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        output = self._network(
            x_BCHW.to(self._network.dtype),
            timestep=time_B,
            class_labels=conditioning["labels"],
            return_dict=False,
        )[0]
        # The second half of the channels is the learned variance of the reverse step.
        return cast(torch.Tensor, output[:, : self.sample_shape[0]].float())


class DiTAdapter(ToldLabels):
    """Loads DiT."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> DiT:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return DiT.load(folder, config, device)
