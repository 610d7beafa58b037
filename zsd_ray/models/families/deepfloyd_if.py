"""DeepFloyd IF, stage I (Stability AI 2023; after Imagen, Saharia et al. 2022): 64 x 64 pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.conditioning.t5 import encode_masked_tokens
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.network_denoiser import PixelDenoiser

_PROMPT_TOKENS = 77
"""What the U-Net was trained with; T5 itself takes more."""


class DeepFloydIF(PixelDenoiser):
    """A `Denoiser` over a U-Net in pixel space that reads T5's tokens."""

    network_class = "UNet2DConditionModel"
    component = "unet"

    def __init__(self, unet: Any, folder: Path, device: torch.device) -> None:
        side = int(unet.config.sample_size)
        super().__init__(unet, side, (int(unet.config.in_channels), side, side), folder, device)

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        dtype = self._network.dtype
        output = self._network(
            x_BCHW.to(dtype),
            time_B,
            encoder_hidden_states=conditioning["hidden"].to(dtype),
            return_dict=False,
        )[0]
        # Further channels are a learned variance (Nichol & Dhariwal 2021).
        return cast(torch.Tensor, output[:, : self.sample_shape[0]].float())


class DeepFloydIFAdapter(Adapter):
    """Loads the first stage of DeepFloyd IF."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> DeepFloydIF:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return DeepFloydIF(DeepFloydIF.load_network(folder, config), folder, device)

    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `hidden` (N, 77, 4096): T5's last hidden states.

        T5 does not see padding, but the U-Net does: it was trained on all 77, and takes no mask.
        """
        hidden, _ = encode_masked_tokens(folder, config, prompts, _PROMPT_TOKENS, device)
        return {"hidden": hidden}
