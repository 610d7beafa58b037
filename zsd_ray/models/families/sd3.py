"""Stable Diffusion 3 and 3.5 (Esser et al. 2024) from a diffusers pipeline folder.

A transformer on 16-channel latents that predicts the velocity of a straight path; its text comes
from two CLIPs and T5, which may be left out (delete the folders `text_encoder_3` and `tokenizer_3`,
and set both to `[null, null]` in model_index.json), as the model was trained with each of the three
dropped at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import FlowSchedule, Schedule
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.conditioning.clip_text import clip_outputs
from zsd_ray.models.conditioning.t5 import encode_tokens
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.files.components import as_rows
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.latents import Autoencoder
from zsd_ray.models.network_denoiser import LatentDenoiser
from zsd_ray.models.samplers import scheduler_file
from zsd_ray.records.errors import UserError

_T5_TOKENS = 256


class StableDiffusion3(LatentDenoiser):
    """A `Denoiser` over a VAE and a multimodal diffusion transformer."""

    network_class = "SD3Transformer2DModel"
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
        network = transformer.config
        # Its position table has this many patches a side.
        largest = network.pos_embed_max_size * network.patch_size * vae.downsampling
        if self.image_size > largest:
            raise UserError(f"model.image_size {self.image_size} is above this model's {largest}")
        self._text_width = network.joint_attention_dim
        self._t5_tokens = config.max_prompt_tokens or _T5_TOKENS

    def _patch_size(self, settings: Any) -> int:
        return int(settings.patch_size)

    def _process(self, folder: Path) -> tuple[Schedule, Parametrisation]:
        n_steps = read_object(scheduler_file(folder)).get("num_train_timesteps", 1000)
        return FlowSchedule(scale=float(n_steps)), "flow"

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        dtype = self._network.dtype
        output = self._network(
            hidden_states=x_BCHW.to(dtype),
            timestep=time_B,
            encoder_hidden_states=self._text(conditioning, dtype),
            pooled_projections=conditioning["pooled"].to(dtype),
            return_dict=False,
        )[0]
        return cast(torch.Tensor, output.float())

    def _text(self, conditioning: Mapping[str, torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
        """Return the CLIPs' tokens, padded with zeros to T5's width, followed by T5's tokens."""
        clip = conditioning["clip"].to(dtype)
        clip = torch.nn.functional.pad(clip, (0, self._text_width - clip.shape[-1]))
        if "t5" in conditioning:
            t5 = conditioning["t5"].to(dtype)
        else:  # zeros are still tokens, that attention sees
            t5 = clip.new_zeros(len(clip), self._t5_tokens, self._text_width)
        return torch.cat([clip, t5], dim=1)


class StableDiffusion3Adapter(Adapter):
    """Loads Stable Diffusion 3 and 3.5."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> StableDiffusion3:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return StableDiffusion3.load(folder, config, device)

    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `clip` and `pooled` of both CLIPs, concatenated, and `t5` if the folder has T5.

        `clip` (N, 77, 2048) are their last but one hidden states, without a final norm; `pooled`
        (N, 2048) their projected ends of text; `t5` (N, L, 4096) T5's last hidden states. L is
        `model.max_prompt_tokens`, 256 by default; 1,000 prompts then take 2.4 GB in half precision,
        2.1 of them for T5, which a smaller L reduces.

        Raises:
            UserError: the folder has only half of T5.
        """
        encoder, tokenizer = folder / "text_encoder_3", folder / "tokenizer_3"
        if encoder.is_dir() != tokenizer.is_dir():
            raise UserError(
                f"model.path {folder} has only one of text_encoder_3 and tokenizer_3; add the "
                "other, or remove both to go without T5"
            )
        clips = [_encode_clip(folder, suffix, config, prompts, device) for suffix in ("", "_2")]
        conditioning = {
            "clip": np.concatenate([hidden for hidden, _ in clips], axis=-1),
            "pooled": np.concatenate([pooled for _, pooled in clips], axis=-1),
        }
        if encoder.is_dir():
            length = config.max_prompt_tokens or _T5_TOKENS
            conditioning["t5"] = encode_tokens(encoder, tokenizer, config, prompts, length, device)
        return conditioning


def _encode_clip(
    folder: Path, suffix: str, config: ModelConfig, prompts: Sequence[str], device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    hidden, pooled = [], []
    for output in clip_outputs(
        "CLIPTextModelWithProjection",
        folder / f"text_encoder{suffix}",
        folder / f"tokenizer{suffix}",
        config,
        prompts,
        device,
    ):
        hidden.append(output.hidden_states[-2].cpu())
        pooled.append(output.text_embeds)
    return as_rows(hidden, config), as_rows(pooled, config)
