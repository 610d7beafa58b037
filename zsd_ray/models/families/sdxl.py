"""Stable Diffusion XL (Podell et al. 2023), the base model, from a diffusers pipeline folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.conditioning.clip_text import clip_outputs
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.families.stable_diffusion import StableDiffusion
from zsd_ray.models.files.components import as_rows
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.latents import Autoencoder


class StableDiffusionXL(StableDiffusion):
    """A `Denoiser` whose U-Net also takes a pooled prompt and the size of the image."""

    def __init__(
        self, unet: Any, vae: Autoencoder, folder: Path, config: ModelConfig, device: torch.device
    ) -> None:
        super().__init__(unet, vae, folder, config, device)
        # Section 2.2: height and width of the original, the crop's top and left, and height and
        # width of what is drawn. Small originals look blurred, so the original is as large.
        size = float(self.image_size)
        self._time_ids_6 = torch.tensor([size, size, 0.0, 0.0, size, size], device=device)

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        dtype = self._network.dtype
        output = self._network(
            x_BCHW.to(dtype),
            time_B,
            encoder_hidden_states=conditioning["hidden"].to(dtype),
            added_cond_kwargs={
                "text_embeds": conditioning["pooled"].to(dtype),
                # float32: bfloat16 holds only 8 bits of a size.
                "time_ids": self._time_ids_6.expand(len(x_BCHW), -1),
            },
            return_dict=False,
        )[0]
        return cast(torch.Tensor, output.float())


class StableDiffusionXLAdapter(Adapter):
    """Loads Stable Diffusion XL."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> StableDiffusionXL:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return StableDiffusionXL.load(folder, config, device)

    @torch.inference_mode()
    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `hidden` (N, L, D1 + D2) of both text encoders, `pooled` (N, P) of the second.

        An empty prompt is all zeros where model_index.json says so (by default it does): the model
        learned "no prompt" as zeros and never saw the encoders' view of an empty text.
        """
        first, _ = _encode("CLIPTextModel", "", folder, config, prompts, device)
        second, ends = _encode("CLIPTextModelWithProjection", "_2", folder, config, prompts, device)
        hidden, pooled = np.concatenate([first, second], axis=-1), as_rows(ends, config)
        if read_object(folder / "model_index.json").get("force_zeros_for_empty_prompt", True):
            empty = [not prompt.strip() for prompt in prompts]
            hidden[empty] = 0
            pooled[empty] = 0
        return {"hidden": hidden, "pooled": pooled}


def _encode(
    kind: str,
    suffix: str,
    folder: Path,
    config: ModelConfig,
    prompts: Sequence[str],
    device: torch.device,
) -> tuple[NDArray[Any], list[torch.Tensor]]:
    """Return hidden states (N, L, D) before the last layer, and projected ends of text, (n, P)
    each.

    An encoder without a projection has no ends of text.
    """
    encoder, tokenizer = folder / f"text_encoder{suffix}", folder / f"tokenizer{suffix}"
    hidden, ends = [], []
    for output in clip_outputs(kind, encoder, tokenizer, config, prompts, device):
        hidden.append(output.hidden_states[-2].cpu())
        if "text_embeds" in output:
            ends.append(output.text_embeds)
    return as_rows(hidden, config), ends
