"""Tiny U-Nets over 16 x 16 pixels, with a chain of steps or with Karras' preconditioning."""

import torch

LABELS = ["zero", "one", "two"]


def ddpm(folder, channels=3, prediction="epsilon", learned_variance=False, **unet):
    from diffusers import DDPMPipeline, DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=prediction)
    network = _network(channels, channels * (2 if learned_variance else 1), unet)
    DDPMPipeline(network, scheduler).save_pretrained(str(folder))
    return LABELS, {"labels": LABELS}


def edm(folder, prediction="epsilon", sigma_data=0.6, **unet):
    from diffusers import DDPMPipeline, EDMEulerScheduler

    scheduler = EDMEulerScheduler(
        sigma_min=0.01, sigma_max=50.0, sigma_data=sigma_data, prediction_type=prediction, rho=6.0
    )
    DDPMPipeline(_network(3, 3, unet), scheduler).save_pretrained(str(folder))
    return LABELS, {"labels": LABELS}


def _network(channels, out_channels, changes):
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    settings = {
        "sample_size": 16,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "num_class_embeds": None if "class_embed_type" in changes else len(LABELS),
    }
    return UNet2DModel(in_channels=channels, out_channels=out_channels, **{**settings, **changes})
