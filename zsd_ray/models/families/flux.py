"""FLUX.1 dev and schnell (Black Forest Labs 2024) from a diffusers pipeline folder.

A transformer on patches of 2 x 2 latents that predicts the velocity of a straight path. x keeps
the latents' own shape (C, H, W), so that noise does not depend on how they are packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

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

_LATENT_SIDE = 128
"""Of the images that the model was published for, 1024 x 1024; no file of a folder says it."""

_PATCH_SIZE = 2

_GUIDANCE = 1.0
"""The guidance input of dev. It was distilled to imitate classifier-free guidance at this scale (as
in Meng et al. 2023), and scale 1 is the conditional prediction alone, which a diffusion classifier
compares. Sampling's 3.5 would score a sharpened distribution."""


class Flux(LatentDenoiser):
    """A `Denoiser` over a VAE and FLUX.1's transformer."""

    network_class = "FluxTransformer2DModel"
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
        self._positions = _positions(self.sample_shape[1] // _PATCH_SIZE, device)

    def _latent_side(self, settings: Any) -> int:
        return _LATENT_SIDE

    def _patch_size(self, settings: Any) -> int:
        return _PATCH_SIZE

    def _process(self, folder: Path) -> tuple[Schedule, Parametrisation]:
        # The network multiplies its time by 1,000 itself; in half precision it first rounds it to
        # its dtype, for all classes alike, as it does when it draws images.
        n_steps = read_object(scheduler_file(folder)).get("num_train_timesteps", 1000)
        return FlowSchedule(scale=n_steps / 1000), "flow"

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        dtype = self._network.dtype
        text = conditioning["t5"].to(dtype)
        guided = self._network.config.guidance_embeds
        output = self._network(
            hidden_states=pack(x_BCHW).to(dtype),
            timestep=time_B,
            guidance=torch.full_like(time_B, _GUIDANCE) if guided else None,
            encoder_hidden_states=text,
            pooled_projections=conditioning["pooled"].to(dtype),
            txt_ids=self._positions.new_zeros(text.shape[1], 3),
            img_ids=self._positions,
            return_dict=False,
        )[0]
        return unpack(output.float(), x_BCHW.shape[-1])


class FluxAdapter(Adapter):
    """Loads FLUX.1."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> Flux:
        """Load a checked pipeline folder (see `registry.resolve_model`)."""
        return Flux.load(folder, config, device)

    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `pooled` (N, 768), CLIP's end of text, not projected, and `t5` (N, L, 4096), T5's
        states.

        L is `model.max_prompt_tokens`; by default 512 with a guidance input (dev) and 256 without
        (schnell), as each was published. 1,000 prompts of 512 tokens take 4.2 GB in half precision
        and lengthen each forward: names of classes need few of them, but the network also reads the
        padding, so that a smaller L moves the scores a little.
        """
        guided = read_object(folder / "transformer" / "config.json").get("guidance_embeds", False)
        length = config.max_prompt_tokens or (512 if guided else 256)
        outputs = clip_outputs(
            "CLIPTextModel", folder / "text_encoder", folder / "tokenizer", config, prompts, device
        )
        return {
            "pooled": as_rows([output.pooler_output for output in outputs], config),
            "t5": encode_tokens(
                folder / "text_encoder_2", folder / "tokenizer_2", config, prompts, length, device
            ),
        }


def pack(x_BCHW: torch.Tensor) -> torch.Tensor:
    """Arrange latents as a sequence of patches, (B, H/2 * W/2, C * 4), channels outermost in
    each."""
    patches = torch.nn.functional.unfold(x_BCHW, _PATCH_SIZE, stride=_PATCH_SIZE)
    return patches.transpose(1, 2)


def unpack(patches_BND: torch.Tensor, width: int) -> torch.Tensor:
    """Undo `pack` for square latents of `width`."""
    folded = patches_BND.transpose(1, 2)
    return torch.nn.functional.fold(folded, (width, width), _PATCH_SIZE, stride=_PATCH_SIZE)


def _positions(side: int, device: torch.device) -> torch.Tensor:
    """Return (0, row, column) of each patch of an image, (side * side, 3); those of text are all
    zero."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    grid = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1)
    return grid.reshape(-1, 3).float().to(device)
