"""A new U-Net over pixels with random weights, and its chain, from which `zsd-ray train` starts."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zsd_ray.config.training import DdpmTraining
from zsd_ray.models.files.source import INDEX
from zsd_ray.models.schedules import new_scheduler
from zsd_ray.models.torchvision_ops import declare_missing_operators


@dataclass(frozen=True)
class NewDDPM:
    """The two parts of a DDPM's folder as the library's own objects, for training.

    id2label: the names of its labels; None if it is unconditional.
    """

    unet: Any
    scheduler: Any
    id2label: Mapping[int, str] | None

    def save(self, folder: Path) -> None:
        """Write a standard pipeline folder, float16."""
        from diffusers import DDPMPipeline

        # A copy: training continues in float32.
        unet = copy.deepcopy(self.unet).half()
        DDPMPipeline(unet, self.scheduler).save_pretrained(str(folder), safe_serialization=True)
        if self.id2label is not None:
            index = folder / INDEX
            content = json.loads(index.read_text(encoding="utf-8"))
            content["id2label"] = {str(number): name for number, name in self.id2label.items()}
            index.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def build(training: DdpmTraining, null_label: bool) -> NewDDPM:
    """Build the network and its chain (Ho et al. 2020), or its straight path.

    Args:
        null_label: whether an extra last label stands for no class.
    """
    declare_missing_operators()
    from diffusers import UNet2DModel

    config, chain, classes = training.network, training.chain, training.classes
    torch.manual_seed(training.seed)
    blocks = range(1, len(config.channels) + 1)
    unet = UNet2DModel(
        sample_size=config.image_size,
        in_channels=config.image_channels,
        out_channels=config.image_channels,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=tuple(_kind("Down", block in config.attention) for block in blocks),
        up_block_types=tuple(_kind("Up", block in config.attention) for block in reversed(blocks)),
        add_attention=bool(config.attention),
        norm_num_groups=32 if all(c % 32 == 0 for c in config.channels) else 8,
        num_class_embeds=None if classes is None else len(classes) + null_label,
    )
    scheduler = new_scheduler(
        training.objective,
        num_train_timesteps=chain.steps,
        beta_start=chain.beta_start,
        beta_end=chain.beta_end,
        beta_schedule="linear",
    )
    return NewDDPM(unet, scheduler, None if classes is None else dict(enumerate(classes)))


def _kind(side: str, attention: bool) -> str:
    return f"{'Attn' if attention else ''}{side}Block2D"
