"""Trains a text-to-image latent diffusion model: VAE first, then text encoder and U-Net jointly.

Both losses are the papers': reconstruction with a small KL term (Rombach et al. 2022, app. G) and
the plain eps-error (Ho et al. 2020, eq. 14) with captions dropped at random (Ho & Salimans 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch.nn import functional

from zsd_ray.models.stable_diffusion import Components
from zsd_ray.spec.train_config import StageConfig, TrainConfig
from zsd_ray.training.batches import Captions, TrainingImages, generator
from zsd_ray.training.checkpoint import Checkpoint

KL_WEIGHT = 1e-4
_LATENT_SAMPLES = 1024

OnStep = Callable[[str, int, int, float], None]
"""Called after each step with (stage, steps done, steps in all, loss)."""


@dataclass
class Trainer:
    """One training run; `run` goes on from the last checkpoint, step by step the same."""

    config: TrainConfig
    components: Components
    images: TrainingImages
    captions: Captions
    checkpoint: Checkpoint
    on_step: OnStep
    device: torch.device
    _ema: dict[str, torch.Tensor] = field(default_factory=dict)

    def run(self) -> None:
        """Train what is left to train; the components then hold the result (EMA weights)."""
        for network in self._networks().values():
            network.to(self.device)
        saved = self.checkpoint.read()
        done = {"vae": 0, "denoiser": 0}
        if saved is not None:
            done = saved["done"]
            self._restore(saved)
        if done["vae"] < self.config.vae.steps:
            self._stage("vae", self.config.vae, self._vae_loss, ["vae"], done, saved)
            saved = None
        # A function of the trained VAE, and no part of a checkpoint: set again on every start.
        self._set_scaling_factor()
        if done["denoiser"] < self.config.denoiser.steps:
            names = ["unet", "text_encoder"]
            self._stage("denoiser", self.config.denoiser, self._denoiser_loss, names, done, saved)
        for name, network in self._ema_networks():
            network.load_state_dict({k: self._ema[f"{name}.{k}"] for k in network.state_dict()})

    def _stage(
        self,
        stage: str,
        config: StageConfig,
        loss_of: Callable[[torch.Generator], torch.Tensor],
        names: list[str],
        done: dict[str, int],
        saved: dict[str, Any] | None,
    ) -> None:
        networks = [self._networks()[name].train() for name in names]
        parameters = [p for network in networks for p in network.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate)
        if saved is not None and done[stage]:
            optimizer.load_state_dict(saved["optimizer"])
        for step in range(done[stage], config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps)
            loss = loss_of(generator(self.config.seed, stage, step))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            if stage == "denoiser":
                self._update_ema(step)
            done[stage] = step + 1
            if (
                done[stage] % self.config.output.checkpoint_every == 0
                or done[stage] == config.steps
            ):
                self._save(done, optimizer)
            self.on_step(stage, done[stage], config.steps, float(loss.detach()))
        for network in networks:
            network.eval()

    def _vae_loss(self, rng: torch.Generator) -> torch.Tensor:
        vae = self.components.vae
        x, _ = self.images.sample(self.config.vae.batch_size, rng)
        x = x.to(self.device)
        posterior = vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=rng).to(self.device)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss: torch.Tensor = functional.mse_loss(decoded, x) + KL_WEIGHT * kl
        return loss

    def _denoiser_loss(self, rng: torch.Generator) -> torch.Tensor:
        parts = self.components
        n = self.config.denoiser.batch_size
        x, labels = self.images.sample(n, rng)
        x_0 = self._latents(x)
        captions = self.captions.sample(labels, rng)
        unique, row = torch.unique(captions, return_inverse=True)
        hidden = parts.text_encoder(self.captions.tokens_PL[unique].to(self.device))
        conditioning = hidden.last_hidden_state[row.to(self.device)]
        step = torch.randint(parts.scheduler.config.num_train_timesteps, (n,), generator=rng)
        noise = torch.randn(x_0.shape, generator=rng).to(self.device)
        alpha_bar = parts.scheduler.alphas_cumprod[step][:, None, None, None].to(self.device)
        x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
        output = parts.unet(x_t, step.to(self.device), encoder_hidden_states=conditioning).sample
        return functional.mse_loss(output, noise)

    @torch.no_grad()
    def _latents(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        vae = self.components.vae
        mean = vae.encode(images_B3HW.to(self.device)).latent_dist.mean
        return cast(torch.Tensor, mean * vae.config.scaling_factor)

    def _set_scaling_factor(self) -> None:
        """1 / std of the latents, so that x_0 has unit variance (Rombach et al. 2022, app. G)."""
        self.components.vae.eval()
        self.components.vae.register_to_config(scaling_factor=1.0)
        rng = generator(self.config.seed, "scaling", 0)
        images, _ = self.images.sample(_LATENT_SAMPLES, rng)
        std = float(self._latents(images).std())
        self.components.vae.register_to_config(scaling_factor=round(1 / std, 5))

    def _update_ema(self, step: int) -> None:
        # Young averages forget faster, else the random start would linger.
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, network in self._ema_networks():
                for key, value in network.state_dict().items():
                    average = self._ema.setdefault(f"{name}.{key}", value.clone())
                    if value.dtype.is_floating_point:
                        average.lerp_(value, 1 - decay)

    def _networks(self) -> dict[str, Any]:
        parts = self.components
        return {"vae": parts.vae, "unet": parts.unet, "text_encoder": parts.text_encoder}

    def _ema_networks(self) -> Iterable[tuple[str, Any]]:
        return (item for item in self._networks().items() if item[0] != "vae")

    def _save(self, done: dict[str, int], optimizer: torch.optim.Optimizer) -> None:
        self.checkpoint.write(
            {
                "done": dict(done),
                "networks": {k: v.state_dict() for k, v in self._networks().items()},
                "optimizer": optimizer.state_dict(),
                "ema": self._ema,
            }
        )

    def _restore(self, saved: dict[str, Any]) -> None:
        for name, network in self._networks().items():
            network.load_state_dict(saved["networks"][name])
        self._ema = saved["ema"]


def warmup_cosine(step: int, steps: int) -> float:
    """The learning rate's factor: linear over the first 5 %, then a half cosine to 0."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
