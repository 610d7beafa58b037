"""PixArt-alpha (Chen et al. 2023) and PixArt-Sigma (Chen et al. 2024), from a diffusers folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.conditioning.t5 import encode_masked_tokens
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.latents import Autoencoder
from zsd_ray.models.network_denoiser import LatentDenoiser

_PROMPT_TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
"""Chen et al. 2023, section 3.1; Chen et al. 2024, section 3.1."""


class PixArt(LatentDenoiser):
    """A `Denoiser` over a VAE and a diffusion transformer that reads T5's tokens."""

    network_class = "PixArtTransformer2DModel"
    component = "transformer"

    def __init__(
        self,
        transformer: Any,
        vae: Autoencoder,
        folder: Path,
        config: ModelConfig,
        device: torch.device,
    ) -> None:
        super().__init__(transformer, vae, folder, config, device)
        # Chen et al. 2023, app.: models of 1,024 pixels are conditioned on the size and shape of
        # the image.
        self._sized = bool(transformer.use_additional_conditions)
        self._size_2 = torch.full((2,), float(self.image_size), device=device)
        self._aspect_1 = torch.ones(1, device=device)

    def _patch_size(self, settings: Any) -> int:
        return int(settings.patch_size)

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        dtype, n_rows = self._network.dtype, len(x_BCHW)
        output = self._network(
            x_BCHW.to(dtype),
            encoder_hidden_states=conditioning["hidden"].to(dtype),
            encoder_attention_mask=conditioning["mask"],
            timestep=time_B,
            added_cond_kwargs={
                "resolution": self._size_2.expand(n_rows, -1) if self._sized else None,
                "aspect_ratio": self._aspect_1.expand(n_rows, -1) if self._sized else None,
            },
            return_dict=False,
        )[0]
        # Further channels are a learned variance (Nichol & Dhariwal 2021).
        return cast(torch.Tensor, output[:, : self.sample_shape[0]].float())


class PixArtAdapter(Adapter):
    """Loads PixArt-alpha and PixArt-Sigma."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> PixArt:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return PixArt.load(folder, config, device)

    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `hidden` (N, L, 4096), T5's last states; `mask` (N, L), 1 for a token, 0 for
        padding.

        L is the length that the model was trained with, or `model.max_prompt_tokens` if that is
        less. The network does not see padding, so a smaller L changes no number while every prompt
        fits: 1,000 prompts of 300 tokens take 2.5 GB in half precision.
        """
        length = _PROMPT_TOKENS[read_object(folder / "model_index.json")["_class_name"]]
        length = min(length, config.max_prompt_tokens or length)
        hidden, mask = encode_masked_tokens(folder, config, prompts, length, device)
        return {"hidden": hidden, "mask": mask}
