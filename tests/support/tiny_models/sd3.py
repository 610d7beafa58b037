"""A tiny Stable Diffusion 3, 16 x 16 pixels, with T5 or without."""

import torch

from tests.support.tiny_models import flow_parts


def sd3(folder, with_t5):
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(0)
    tokenizer, text_encoder = flow_parts.clip(16, projection=12)
    tokenizer_2, text_encoder_2 = flow_parts.clip(24, projection=20)
    tokenizer_3, text_encoder_3 = flow_parts.t5() if with_t5 else (None, None)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=flow_parts.T5_WIDTH,  # more than both CLIPs' 40
        caption_projection_dim=32,
        pooled_projection_dim=32,
        pos_embed_max_size=6,  # patches a side, more than the 4 of an image
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=flow_parts.scheduler(),
        vae=flow_parts.vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=text_encoder_3,
        tokenizer_3=tokenizer_3,
    ).save_pretrained(str(folder), safe_serialization=True)
    return flow_parts.PROMPTS, {"max_prompt_tokens": 10}
