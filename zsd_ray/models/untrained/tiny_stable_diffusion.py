"""A new, small Stable Diffusion with random weights, from which `zsd-ray train` starts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from zsd_ray.config.training import NetworkConfig, Objective
from zsd_ray.models.families.stable_diffusion import Components
from zsd_ray.models.schedules import new_scheduler
from zsd_ray.models.torchvision_ops import declare_missing_operators

_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"


def build(
    config: NetworkConfig, captions: Sequence[str], objective: Objective, seed: int
) -> Components:
    """Build the five components; the tokenizer's merges are learned from `captions`."""
    declare_missing_operators()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = build_tokenizer(captions, config.prompt_length)
    torch.manual_seed(seed)
    vae_levels, unet_levels = len(config.vae_channels), len(config.unet_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * vae_levels,
        up_block_types=("UpDecoderBlock2D",) * vae_levels,
        block_out_channels=config.vae_channels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        sample_size=config.image_size,
    )
    # Attention only at the lowest resolution: at 16x16 it is 8 times slower on a CPU.
    unet = UNet2DConditionModel(
        sample_size=config.image_size // 2 ** (vae_levels - 1),
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=config.unet_channels,
        layers_per_block=config.unet_layers,
        down_block_types=("DownBlock2D",) * (unet_levels - 1) + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * (unet_levels - 1),
        cross_attention_dim=config.text_width,
        # diffusers reads this argument as the number of heads.
        attention_head_dim=max(1, config.unet_channels[-1] // 32),
        norm_num_groups=8,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.text_width,
            intermediate_size=4 * config.text_width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=max(1, config.text_width // 32),
            max_position_embeddings=config.prompt_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # The schedule of Stable Diffusion 1.x and 2.x.
    scheduler = new_scheduler(
        objective,
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )
    return Components(vae, unet, text_encoder, tokenizer, scheduler)


def build_tokenizer(captions: Sequence[str], length: int) -> Any:
    """Make a CLIPTokenizer of 512 byte tokens, the merges of `captions`, and two specials."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    alphabet = letters + [letter + "</w>" for letter in letters]

    def tokenizer(merges: list[tuple[str, str]]) -> Any:
        tokens = [*alphabet, *dict.fromkeys("".join(pair) for pair in merges), _BOS, _EOS]
        vocab = {token: index for index, token in enumerate(tokens)}
        return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)

    # Learned on all words of the captions, so that each becomes one token.
    learned = tokenizer([]).train_new_from_iterator(captions, vocab_size=4096, show_progress=False)
    state = json.loads(learned.backend_tokenizer.to_str())
    return tokenizer([tuple(pair) for pair in state["model"]["merges"]])
