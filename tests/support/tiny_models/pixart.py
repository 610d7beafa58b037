"""A tiny PixArt: alpha of 128 x 128 pixels, told the image's size; Sigma of 16 x 16, not told."""

import torch

from tests.support.tiny_models import flow_parts


def pixart(folder, kind):
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    torch.manual_seed(0)
    tokenizer, text_encoder = flow_parts.t5()
    # alpha's pipeline tells the size only to networks of 128 x 128 latents: here each is a pixel.
    alpha = kind == "alpha"
    levels = 1 if alpha else 2
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(8, 16)[:levels],
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=0.18215 if alpha else 0.13025,
        # Attention among 16,384 pixels takes seconds.
        mid_block_add_attention=not alpha,
    )
    transformer = PixArtTransformer2DModel(
        sample_size=128 if alpha else 8,
        # Of 16 x 16, torch 2.13's bfloat16 convolution is wrong on processors with AMX.
        patch_size=8 if alpha else 2,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=3,
        cross_attention_dim=24,
        caption_channels=flow_parts.T5_WIDTH,
        interpolation_scale=1,
        use_additional_conditions=None if alpha else False,
    )
    (PixArtAlphaPipeline if alpha else PixArtSigmaPipeline)(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.0001, beta_end=0.02, beta_schedule="linear", solver_order=2
        ),
    ).save_pretrained(str(folder), safe_serialization=True)
    return flow_parts.PROMPTS, {}
