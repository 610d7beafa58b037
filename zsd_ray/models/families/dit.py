"""DiT (Peebles & Xie 2023), behind the convention: a transformer over latents, told a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.labels import labels_or_null
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.features.block_features import block_features
from zsd_ray.models.files.components import (
    load_network,
    network_dtype,
)
from zsd_ray.models.latents import Autoencoder
from zsd_ray.models.schedules import folder_schedule


class DiT:
    """A `Denoiser` over a VAE and a DiTTransformer2DModel; its size is fixed."""

    def __init__(
        self,
        transformer: Any,
        vae: Autoencoder,
        folder: Path,
        device: torch.device,
    ) -> None:
        self._transformer = transformer.to(device)
        self._vae = vae
        self.device = device
        self.image_size = int(transformer.config.sample_size) * vae.downsampling
        self.sample_shape = vae.sample_shape(self.image_size)
        self.schedule, self.parametrisation = folder_schedule(folder)

    @torch.inference_mode()
    def encode_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        return self._vae.encode(images_B3HW)

    def decode(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self._vae.decode(x_BCHW)

    def predict(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        output = self._transformer(
            x_BCHW.to(self._transformer.dtype),
            timestep=time_B,
            class_labels=conditioning["labels"],
            return_dict=False,
        )[0]
        # The second half of the channels is the learned variance of the reverse step.
        return cast(torch.Tensor, output[:, : self.sample_shape[0]].float())

    def features(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, conditioning: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        with block_features(self._transformer) as found:
            self.predict(x_BCHW, time_B, conditioning)
        return found


def load(folder: Path, config: ModelConfig, device: torch.device) -> DiT:
    """Load a checked pipeline folder (see `registry.check_model`)."""
    transformer = load_network(
        "DiTTransformer2DModel", folder / "transformer", config, network_dtype(config)
    )
    return DiT(transformer, Autoencoder.load(folder, config, device), folder, device)


def encode_prompts(
    folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
) -> Conditioning:
    """`labels`: the label of each name, (N,) int64; the empty name is the null label's."""
    return {"labels": labels_or_null(folder, config, prompts)}
