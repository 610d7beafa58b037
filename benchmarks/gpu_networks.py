"""Networks of the published architectures, and small ones of the same make, with random weights.

Shapes are those of the models' own configurations. Each becomes the adapter that users' folders
become; its VAE is a stand-in that only says how large latents are, for no image is encoded here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.denoiser import Denoiser
from zsd_ray.models.latents import Autoencoder
from zsd_ray.models.registry import resolve_model
from zsd_ray.models.torchvision_ops import declare_missing_operators

N_PROMPTS, N_TINY_PROMPTS = 1000, 10
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

Built = tuple[Denoiser, Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Network:
    """How to make one.

    adapter: "module:Class"; network: the library's class; config, tiny: its shapes.
    rows: name -> shape of one prompt's part of the conditioning; () of int64: a label.
    """

    adapter: str
    network: str
    config: Mapping[str, Any]
    tiny: Mapping[str, Any]
    rows: Mapping[str, tuple[int, ...]]
    tiny_rows: Mapping[str, tuple[int, ...]]
    shares: bool = False

    @property
    def is_unet(self) -> bool:
        return self.network == "UNet2DConditionModel"

    def build(self, folder: Path, dtype: torch.dtype, device: torch.device, tiny: bool) -> Built:
        """The adapter, and the conditioning of all prompts."""
        declare_missing_operators()
        import diffusers

        torch.manual_seed(0)
        with torch.device(device):
            network = getattr(diffusers, self.network)(**(self.tiny if tiny else self.config))
        network = network.to(dtype).eval().requires_grad_(False)
        (folder / "scheduler").mkdir()
        schedule = {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000, **_BETAS}
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
        module, name = self.adapter.split(":")
        adapter = getattr(import_module(module), name)
        vae = _vae(network.config.in_channels, device)
        denoiser: Denoiser = adapter(network, vae, folder, ModelConfig(), device)
        n = N_TINY_PROMPTS if tiny else N_PROMPTS
        shapes = self.tiny_rows if tiny else self.rows
        return denoiser, {
            name: torch.randn(n, *shape, device=device, dtype=dtype)
            if shape
            else torch.arange(n, device=device)
            for name, shape in shapes.items()
        }


@dataclass(frozen=True)
class BuiltIn:
    """The model that comes with the package."""

    is_unet: bool = True
    shares: bool = True

    def build(self, folder: Path, dtype: torch.dtype, device: torch.device, tiny: bool) -> Built:
        config = ModelConfig(device=str(device), dtype=str(dtype).removeprefix("torch."))
        model = resolve_model(config)
        rows = model.encode_prompts([f"a photo of the digit {n}." for n in range(10)])
        return cast(Denoiser, model.load()), {
            name: torch.from_numpy(of) for name, of in rows.items()
        }


def _vae(channels: int, device: torch.device) -> Autoencoder:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        norm_num_groups=8,
    )
    return Autoencoder(vae.eval().requires_grad_(False), device)


_SD = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 2,
}
_TINY_UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 2,
    "norm_num_groups": 8,
}
_SDXL_MORE = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}

NETWORKS: dict[str, Network | BuiltIn] = {
    "sd15@512": Network(
        adapter="zsd_ray.models.families.stable_diffusion:StableDiffusion",
        network="UNet2DConditionModel",
        config=_SD | {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        tiny=_TINY_UNET | {"cross_attention_dim": 24, "attention_head_dim": 2},
        rows={"hidden": (77, 768)},
        tiny_rows={"hidden": (12, 24)},
        shares=True,
    ),
    "sd2@256": Network(
        adapter="zsd_ray.models.families.stable_diffusion:StableDiffusion",
        network="UNet2DConditionModel",
        config=_SD
        | {
            "sample_size": 32,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        tiny=_TINY_UNET
        | {"cross_attention_dim": 24, "attention_head_dim": (2, 4), "use_linear_projection": True},
        rows={"hidden": (77, 1024)},
        tiny_rows={"hidden": (12, 24)},
        shares=True,
    ),
    "sdxl@512": Network(
        adapter="zsd_ray.models.families.sdxl:StableDiffusionXL",
        network="UNet2DConditionModel",
        config=_SDXL_MORE
        | {
            "in_channels": 4,
            "out_channels": 4,
            "sample_size": 64,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 2,
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "transformer_layers_per_block": (1, 2, 10),
        },
        tiny=_TINY_UNET
        | _SDXL_MORE
        | {
            "cross_attention_dim": 24,
            "attention_head_dim": (2, 4),
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 16 + 6 * 8,
        },
        rows={"hidden": (77, 2048), "pooled": (1280,)},
        tiny_rows={"hidden": (12, 24), "pooled": (16,)},
    ),
    "dit-xl/2@256": Network(
        adapter="zsd_ray.models.families.dit:DiT",
        network="DiTTransformer2DModel",
        config={
            "num_attention_heads": 16,
            "attention_head_dim": 72,
            "in_channels": 4,
            "out_channels": 8,
            "num_layers": 28,
            "sample_size": 32,
            "patch_size": 2,
            "num_embeds_ada_norm": 1000,
        },
        tiny={
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "in_channels": 4,
            "out_channels": 8,
            "num_layers": 2,
            "sample_size": 8,
            "patch_size": 2,
            "num_embeds_ada_norm": 10,
        },
        rows={"labels": ()},
        tiny_rows={"labels": ()},
    ),
    "sd3-medium@512": Network(
        adapter="zsd_ray.models.families.sd3:StableDiffusion3",
        network="SD3Transformer2DModel",
        config={
            "sample_size": 64,
            "patch_size": 2,
            "in_channels": 16,
            "out_channels": 16,
            "num_layers": 24,
            "attention_head_dim": 64,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pooled_projection_dim": 2048,
            "pos_embed_max_size": 192,
        },
        tiny={
            "sample_size": 8,
            "patch_size": 2,
            "in_channels": 16,
            "out_channels": 16,
            "num_layers": 2,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "caption_projection_dim": 16,
            "pooled_projection_dim": 16,
            "pos_embed_max_size": 16,
        },
        rows={"clip": (77, 2048), "pooled": (2048,)},  # as where T5 is left out
        tiny_rows={"clip": (12, 24), "pooled": (16,)},
    ),
}
