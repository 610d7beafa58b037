"""Trains a text-to-image latent diffusion model: VAE first, then text encoder and U-Net jointly.

The VAE's loss is reconstruction with a small KL term (Rombach et al. 2022, app. G); the denoiser's
is that of its objective (noising.py), with captions dropped at random (Ho & Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zsd_ray.config.training import TextToImageTraining
from zsd_ray.diffusion.sampling import sample
from zsd_ray.models.schedules import schedule_of
from zsd_ray.models.untrained import tiny_stable_diffusion
from zsd_ray.records.errors import UserError
from zsd_ray.training.batches import TrainingImages, generators, integers, normal
from zsd_ray.training.caption_batches import Captions
from zsd_ray.training.noising import denoising_loss, noising, row_mse
from zsd_ray.training.task import Batch, Stage

KL_WEIGHT = 1e-4
_LATENT_SAMPLES = 1024


class TextToImageTask:
    """The `Task` of a text-to-image model."""

    networks: Mapping[str, Any]
    stages: Sequence[Stage]

    def __init__(
        self, config: TextToImageTraining, images: TrainingImages, device: torch.device
    ) -> None:
        self.images = images
        self._config = config
        self._device = device
        dropout = config.captions.dropout
        self._captions = Captions.of(config.captions, images, config.samples.images, dropout)
        texts = self._captions.texts
        self._parts = parts = tiny_stable_diffusion.build(
            config.network, texts, config.objective, config.seed
        )
        self._noised = noising(parts.scheduler, config.objective, config.flow_times)
        self._tokens_PL = _tokens(parts.tokenizer, texts, config.network.prompt_length)
        self.networks = {
            "vae": parts.vae.to(device),
            "unet": parts.unet.to(device),
            "text_encoder": parts.text_encoder.to(device),
        }
        self.stages = [
            Stage(
                name="vae",
                trained={"vae": parts.vae},
                loss=self._vae_loss,
                steps=config.vae.steps,
                optimiser=config.vae,
            ),
            Stage(
                name="denoiser",
                trained={"unet": parts.unet, "text_encoder": parts.text_encoder},
                loss=self._denoiser_loss,
                steps=config.denoiser.steps,
                optimiser=config.denoiser,
                averaged=config.ema_decay is not None,
                shown=True,
                # A function of the trained VAE, so it is not part of a checkpoint.
                begin=self._set_scaling_factor,
            ),
        ]

    def _vae_loss(self, batch: Batch) -> torch.Tensor:
        vae, x = self._parts.vae, batch.x_B3SS
        posterior = vae.encode(x).latent_dist
        noise = normal(batch.rngs, tuple(posterior.mean.shape[1:])).to(self._device)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl() / posterior.mean[0].numel()
        return row_mse(decoded, x) + KL_WEIGHT * cast(torch.Tensor, kl)

    def _denoiser_loss(self, batch: Batch) -> torch.Tensor:
        parts = self._parts
        x_0 = self._latents(batch.x_B3SS)
        captions = self._captions.sample(batch.rows_B, batch.rngs)
        unique, row = torch.unique(captions, return_inverse=True)
        hidden = self._encoded(unique)[row.to(self._device)]
        return denoising_loss(
            lambda x_t, t: parts.unet(x_t, t, encoder_hidden_states=hidden).sample,
            self._noised(x_0, batch.rngs),
        )

    def _encoded(self, captions: torch.Tensor) -> torch.Tensor:
        tokens = self._tokens_PL[captions].to(self._device)
        return cast(torch.Tensor, self._parts.text_encoder(tokens).last_hidden_state)

    @torch.no_grad()
    def _latents(self, images_B3SS: torch.Tensor) -> torch.Tensor:
        vae = self._parts.vae
        mean = vae.encode(images_B3SS.to(self._device)).latent_dist.mean
        return cast(torch.Tensor, mean * vae.config.scaling_factor)

    def _set_scaling_factor(self) -> None:
        """Set it to 1 / std of the latents, for x_0 of variance 1 (Rombach et al. 2022, app. G)."""
        self._parts.vae.eval().register_to_config(scaling_factor=1.0)
        rngs = generators(self._config.seed, "scaling", 0, range(_LATENT_SAMPLES))
        images = self.images.take(integers(rngs, len(self.images)), rngs)
        std = float(self._latents(images).std())
        self._parts.vae.register_to_config(scaling_factor=round(1 / std, 5))

    def save(self, folder: Path) -> None:
        self._parts.save(folder, torch.float16)

    @torch.no_grad()
    def sample(self) -> torch.Tensor | None:
        """Sample by DDIM, from the same noise each time; classes take turns, by their first
        caption, or the captions of images do."""
        config, parts = self._config, self._parts
        n = config.samples.images
        if not n:
            return None
        shown = self._captions.shown
        hidden = self._encoded(torch.tensor(shown))[torch.arange(n) % len(shown)]
        unet = parts.unet.config
        rngs = generators(config.seed, "samples", 0, range(n))
        x_T = normal(rngs, (unet.in_channels, unet.sample_size, unet.sample_size)).to(self._device)
        schedule, parametrisation = schedule_of(parts.scheduler)

        def predict(x_t: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = parts.unet(x_t, time_B, encoder_hidden_states=hidden).sample
            return found

        x_0 = sample(predict, schedule, parametrisation, x_T, config.samples.steps)
        return cast(torch.Tensor, parts.vae.decode(x_0 / parts.vae.config.scaling_factor).sample)


def _tokens(tokenizer: Any, texts: Sequence[str], length: int) -> torch.Tensor:
    """Return each text's row of tokens, (P, L) int64; raises UserError if one is too long."""
    rows = tokenizer(texts).input_ids
    text, longest = max(zip(texts, map(len, rows), strict=True), key=lambda pair: pair[1])
    if longest > length:
        raise UserError(
            f"network.prompt_length {length} is too short for the caption {text!r}, which has "
            f"{longest} tokens with its start and end; set {longest} or more"
        )
    padded = tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt")
    return cast(torch.Tensor, padded.input_ids)
