"""Stable Diffusion 1.x and 2.x (Rombach et al. 2022) from a diffusers pipeline folder.

The same code loads the built-in digits model and `CompVis/stable-diffusion-v1-4`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.diffusion.parametrisation import Parametrisation
from zsd_ray.diffusion.schedule import DiscreteSchedule
from zsd_ray.models.torchvision_ops import declare_missing_operators


@dataclass
class Components:
    """The five parts of a Stable Diffusion pipeline, as the libraries' own objects."""

    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype) -> Components:
        """Load from a pipeline folder; safetensors only, the VAE always in float32."""
        declare_missing_operators()
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        # diffusers saves memory while loading where accelerate is installed, and else only nags.
        sparing = importlib.util.find_spec("accelerate") is not None

        def load(kind: Any, name: str, dtype: torch.dtype) -> Any:
            options = {"torch_dtype": dtype, "low_cpu_mem_usage": sparing}
            if name == "text_encoder":  # transformers has other names for the same
                options = {"dtype": dtype}
            return kind.from_pretrained(
                str(folder / name), use_safetensors=True, local_files_only=True, **options
            )

        return cls(
            vae=load(AutoencoderKL, "vae", torch.float32),
            unet=load(UNet2DConditionModel, "unet", dtype),
            text_encoder=load(CLIPTextModel, "text_encoder", torch.float32),
            tokenizer=CLIPTokenizer.from_pretrained(str(folder / "tokenizer")),
            scheduler=DDPMScheduler.from_pretrained(str(folder / "scheduler")),
        )

    def save(self, folder: Path, dtype: torch.dtype) -> None:
        """Write a standard pipeline folder with weights of `dtype`; casts the networks."""
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=self.vae.to(dtype),
            unet=self.unet.to(dtype),
            text_encoder=self.text_encoder.to(dtype),
            tokenizer=self.tokenizer,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(str(folder), safe_serialization=True)


class StableDiffusion:
    """A `Denoiser` over the components of one pipeline; the text encoder can be dropped."""

    def __init__(self, components: Components, device: torch.device) -> None:
        self._unet = components.unet.eval().requires_grad_(False).to(device)
        self._vae = components.vae.eval().requires_grad_(False).to(device)
        self._text_encoder = components.text_encoder.eval().requires_grad_(False).to(device)
        self._tokenizer = components.tokenizer
        self.device = device
        config = self._unet.config
        self.sample_shape = (config.in_channels, config.sample_size, config.sample_size)
        downsampling = 2 ** (len(self._vae.config.block_out_channels) - 1)
        self.image_size = config.sample_size * downsampling
        # Not scheduler.alphas_cumprod: that product is float32, ours is float64.
        self.schedule = DiscreteSchedule.from_betas(components.scheduler.betas.double().numpy())
        self.parametrisation = cast(Parametrisation, components.scheduler.config.prediction_type)
        self._max_length = min(
            self._tokenizer.model_max_length, self._text_encoder.config.max_position_embeddings
        )

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, device: torch.device) -> StableDiffusion:
        """Load a checked pipeline folder (see `registry.check_model`)."""
        return cls(Components.load(folder, dtype), device)

    @torch.inference_mode()
    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Posterior mean of the VAE times its scaling factor (Rombach et al. 2022, app. G)."""
        posterior = self._vae.encode(images_B3HW.to(self.device)).latent_dist
        return cast(torch.Tensor, posterior.mean * self._vae.config.scaling_factor)

    @torch.inference_mode()
    def encode_prompts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Last hidden states (N, L, D) of the text encoder, prompts padded to its length L."""
        chunks = []
        for start in range(0, len(prompts), 64):
            tokens = self._tokenizer(
                list(prompts[start : start + 64]),
                padding="max_length",
                truncation=True,
                max_length=self._max_length,
                return_tensors="pt",
            )
            hidden = self._text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
            chunks.append(hidden.float().cpu().numpy())
        return np.concatenate(chunks)

    @torch.inference_mode()
    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning_BLD: torch.Tensor
    ) -> torch.Tensor:
        dtype = self._unet.dtype
        output = self._unet(
            x_BCHW.to(dtype),
            time_B,
            encoder_hidden_states=conditioning_BLD.to(dtype),
            return_dict=False,
        )[0]
        return cast(torch.Tensor, output.float())
