"""A tiny Stable Diffusion XL, 16 x 16 pixels."""

import torch

from tests.support.tiny_models import flow_parts


def sdxl(folder, force_zeros_for_empty_prompt=True):
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )

    torch.manual_seed(0)
    # The states before a last layer are not normalised: random ones must not be large.
    tokenizer, text_encoder = flow_parts.clip(16, initializer_factor=2.0)
    tokenizer_2, text_encoder_2 = flow_parts.clip(24, projection=20, initializer_factor=2.0)
    tokenizer_2.pad_token = "!"  # noqa: S105 - as in SDXL, whose tokenizers pad differently
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=16,
        scaling_factor=0.13025,
        force_upcast=True,
        latents_mean=[0.1, -0.2, 0.3, -0.4],
        latents_std=[0.5, 0.6, 0.7, 0.8],
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=40,  # both encoders' widths
        attention_head_dim=(1, 2),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,
    )
    # The scheduler that SDXL comes with: its configuration has betas, its noise does not fade x.
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )
    StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
    ).save_pretrained(str(folder), safe_serialization=True)
    return flow_parts.PROMPTS, {}
