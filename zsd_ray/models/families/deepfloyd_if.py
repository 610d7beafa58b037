"""DeepFloyd IF, stage I (Stability AI 2023; after Imagen, Saharia et al. 2022): 64 x 64 pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.models.conditioning.t5 import encode_masked_tokens
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.features.block_features import block_features
from zsd_ray.models.files.components import load_network, network_dtype
from zsd_ray.models.schedules import folder_schedule

_PROMPT_TOKENS = 77
"""What the U-Net was trained with; T5 itself takes more."""


class DeepFloydIF:
    """A `Denoiser` over a U-Net in pixel space that reads T5's tokens."""

    parametrisation: Parametrisation = "epsilon"

    def __init__(self, unet: Any, folder: Path, device: torch.device) -> None:
        self._unet = unet.to(device)
        self.device = device
        self.image_size = int(unet.config.sample_size)
        self.sample_shape = (int(unet.config.in_channels), self.image_size, self.image_size)
        self.schedule, _ = folder_schedule(folder)

    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """The pixels themselves."""
        return images_B3HW.to(self.device, torch.float32)

    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        dtype = self._unet.dtype
        output = self._unet(
            x_BCHW.to(dtype),
            time_B,
            encoder_hidden_states=conditioning["hidden"].to(dtype),
            return_dict=False,
        )[0]
        # Further channels are a learned variance (Nichol & Dhariwal 2021).
        return cast(torch.Tensor, output[:, : self.sample_shape[0]].float())

    def features(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        with block_features(self._unet) as found:
            self.predict(x_BCHW, time_B, conditioning)
        return found


def load(folder: Path, config: ModelConfig, device: torch.device) -> DeepFloydIF:
    """Load a checked pipeline folder (see `registry.check_model`)."""
    unet = load_network("UNet2DConditionModel", folder / "unet", config, network_dtype(config))
    return DeepFloydIF(unet, folder, device)


def encode_prompts(
    folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
) -> Conditioning:
    """`hidden` (N, 77, 4096): T5's last hidden states.

    T5 does not see padding, but the U-Net does: it was trained on all 77, and takes no mask.
    """
    hidden, _ = encode_masked_tokens(folder, config, prompts, _PROMPT_TOKENS, device)
    return {"hidden": hidden}
