"""A tiny DiT, 16 x 16 pixels, four labels and the null one."""

import json

import torch

ID2LABEL = {0: "tench, Tinca tinca", 1: "goldfish, Carassius auratus", 2: "crane", 3: "crane"}


def dit(folder, prediction="epsilon", learned_variance=True):
    from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8 if learned_variance else 4,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=len(ID2LABEL),
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=16,
        scaling_factor=0.3,
    )
    scheduler = DDIMScheduler(beta_schedule="linear", prediction_type=prediction)
    DiTPipeline(transformer, vae, scheduler).save_pretrained(str(folder))
    # The library reads these names from the index of published models, but does not write them.
    index = folder / "model_index.json"
    content = json.loads(index.read_text()) | {"id2label": ID2LABEL}
    index.write_text(json.dumps(content))
    return ["Tinca tinca", "goldfish", "3"], {}
