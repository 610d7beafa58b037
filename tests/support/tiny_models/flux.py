"""A tiny FLUX.1, 16 x 16 pixels: dev, which takes guidance, or schnell."""

import torch

from tests.support.tiny_models import flow_parts


def flux(folder, guidance_embeds):
    from diffusers import FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    tokenizer, text_encoder = flow_parts.clip(24)
    tokenizer_2, text_encoder_2 = flow_parts.t5()
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=flow_parts.T5_WIDTH,
        pooled_projection_dim=24,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    FluxPipeline(
        transformer=transformer,
        scheduler=flow_parts.scheduler(),
        vae=flow_parts.vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
    ).save_pretrained(str(folder), safe_serialization=True)
    return flow_parts.PROMPTS, {"image_size": 16, "max_prompt_tokens": 10}
