"""Stable Diffusion 1.x and 2.x (Rombach et al. 2022) from a diffusers pipeline folder.

The same code loads the built-in digits model and `CompVis/stable-diffusion-v1-4`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import EncoderAdapter
from zsd_ray.models.conditioning.clip_prompt_encoder import ClipPromptEncoder
from zsd_ray.models.conditioning.clip_text import clip_outputs
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.features.unet_attention import attention_maps
from zsd_ray.models.files.components import as_rows
from zsd_ray.models.latents import Autoencoder
from zsd_ray.models.network_denoiser import LatentDenoiser
from zsd_ray.models.rows import Compiled, RowNetwork
from zsd_ray.models.unet_rows import UNetRows, is_plain


class StableDiffusion(LatentDenoiser):
    """A `Denoiser` over a VAE and a U-Net."""

    network_class = "UNet2DConditionModel"
    component = "unet"

    def __init__(
        self, unet: Any, vae: Autoencoder, folder: Path, config: ModelConfig, device: torch.device
    ) -> None:
        super().__init__(unet, vae, folder, config, device)
        self._network.to(memory_format=torch.channels_last)

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
        return cast(torch.Tensor, output.float())

    def attention(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return the attention maps of one `predict`; see `Attends` in models/denoiser.py."""
        height, width = x_BCHW.shape[2:]
        with attention_maps(self._network, (height, width)) as maps:
            self.predict(x_BCHW, time_B, conditioning)
        return maps

    def row_network(
        self, conditioning: Mapping[str, torch.Tensor], wrap: Compiled
    ) -> RowNetwork | None:
        """Return a network for rows that share their draws; None if the U-Net is of another
        kind."""
        if not is_plain(self._network):
            return None
        return UNetRows(self._network, conditioning["hidden"], wrap)


class StableDiffusionAdapter(EncoderAdapter):
    """Loads Stable Diffusion 1.x and 2.x."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> StableDiffusion:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return StableDiffusion.load(folder, config, device)

    @torch.inference_mode()
    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `hidden`: last hidden states (N, L, D) of the text encoder, padded to its length
        L."""
        encoder, tokenizer = folder / "text_encoder", folder / "tokenizer"
        outputs = clip_outputs("CLIPTextModel", encoder, tokenizer, config, prompts, device)
        return {"hidden": as_rows([output.last_hidden_state.cpu() for output in outputs], config)}

    def load_prompt_encoder(
        self, folder: Path, config: ModelConfig, device: torch.device
    ) -> ClipPromptEncoder:
        """Load the prompt encoder, to keep it; its `encode` agrees with `encode_prompts`."""
        return ClipPromptEncoder(folder, config, device)


@dataclass
class Components:
    """The five parts of a Stable Diffusion pipeline as the libraries' own objects, for training."""

    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any

    def save(self, folder: Path, dtype: torch.dtype) -> None:
        """Write a standard pipeline folder with weights of `dtype`."""
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=copy.deepcopy(self.vae).to(dtype),
            unet=copy.deepcopy(self.unet).to(dtype),
            text_encoder=copy.deepcopy(self.text_encoder).to(dtype),
            tokenizer=self.tokenizer,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(str(folder), safe_serialization=True)
