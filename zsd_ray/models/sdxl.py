"""Stable Diffusion XL (Podell et al. 2023), the base model, from a diffusers pipeline folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.models.base import Conditioning
from zsd_ray.models.components import (
    as_rows,
    chunks,
    load_network,
    load_text_encoder,
    load_tokenizer,
    network_dtype,
    placed,
    read_json,
)
from zsd_ray.models.latents import Autoencoder
from zsd_ray.models.stable_diffusion import StableDiffusion
from zsd_ray.spec.config import ModelConfig


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

    @torch.no_grad()  # not inference mode, which torch.compile cannot trace
    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        dtype = self._unet.dtype
        output = self._unet(
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


def load(folder: Path, config: ModelConfig, device: torch.device) -> StableDiffusionXL:
    """Load a checked pipeline folder (see `registry.check_model`)."""
    unet = load_network("UNet2DConditionModel", folder / "unet", config, network_dtype(config))
    vae = Autoencoder.load(folder, config, device)
    return StableDiffusionXL(unet, vae, folder, config, device)


@torch.inference_mode()
def encode_prompts(
    folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
) -> Conditioning:
    """`hidden` (N, L, D1 + D2) of both text encoders, `pooled` (N, P) of the second.

    An empty prompt is all zeros where model_index.json says so (by default it does): the model
    learned "no prompt" as zeros and never saw the encoders' view of an empty text.
    """
    first, _ = _encode("CLIPTextModel", "", folder, config, prompts, device)
    second, ends = _encode("CLIPTextModelWithProjection", "_2", folder, config, prompts, device)
    hidden, pooled = np.concatenate([first, second], axis=-1), as_rows(ends, config)
    if read_json(folder / "model_index.json").get("force_zeros_for_empty_prompt", True):
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
    """Hidden states (N, L, D) before the last layer, and the ends of text, projected, (n, P) each.

    There are none of an encoder that has no projection.
    """
    tokenizer = load_tokenizer("CLIPTokenizer", folder / f"tokenizer{suffix}")
    encoder = placed(
        load_text_encoder(kind, folder / f"text_encoder{suffix}", config, torch.float32), device
    )
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    hidden, ends = [], []
    for some in chunks(prompts):
        tokens = tokenizer(
            some, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        output = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True)
        hidden.append(output.hidden_states[-2].cpu())
        if "text_embeds" in output:
            ends.append(output.text_embeds)
    return as_rows(hidden, config), ends
