"""Trains a small CLIP (Radford et al. 2021) with negatives that are drawn.

CLIP takes the captions of a batch's other images as negatives. Here every image draws its own from
all captions of the data, by its own random numbers: its loss does not depend on the rest of the
batch, of which each worker has only a share. There is no loss in the other direction, of a caption
against images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zsd_ray.config.training import ContrastiveTraining
from zsd_ray.models.untrained.new_clip import build
from zsd_ray.training.batches import Epochs, Generators, TrainingImages
from zsd_ray.training.caption_batches import Captions
from zsd_ray.training.task import Batch, Stage

_LARGEST_LOG_SCALE = math.log(100)  # as CLIP's, section 2.5


class ContrastiveTask:
    """The `Task` of a small CLIP."""

    networks: Mapping[str, Any]
    stages: Sequence[Stage]

    def __init__(
        self, config: ContrastiveTraining, images: TrainingImages, device: torch.device
    ) -> None:
        self.images = images
        self._device = device
        self._n_negatives = config.negatives
        self._captions = Captions.of(config.captions, images, n_shown=0)
        self._model = build(config.network, config.seed)
        self._tokens_PL = self._model.tokens(self._captions.texts)
        self._network = self._model.network.to(device)
        self.networks = {"clip": self._network}
        epochs = Epochs(config.seed, len(images), config.optimiser.batch_size)
        self.stages = [
            Stage(
                name="clip",
                trained=self.networks,
                loss=self._loss,
                steps=config.epochs * epochs.steps,
                optimiser=config.optimiser,
                epochs=epochs,
                averaged=config.ema_decay is not None,
            )
        ]

    def _loss(self, batch: Batch) -> torch.Tensor:
        network, log_scale = self._network, self._network.logit_scale
        with torch.no_grad():  # after each step, as CLIP does; clamped below it had no gradient
            log_scale.clamp_(max=_LARGEST_LOG_SCALE)
        chosen = choose(self._captions, batch.rows_B, self._n_negatives, batch.rngs)
        tokens_UL = self._tokens_PL[chosen.captions_U].to(self._device)
        text_UD = network.encode_text(tokens_UL, normalize=True)
        image_BD = network.encode_image(batch.x_B3SS, normalize=True)
        with torch.autocast(self._device.type, enabled=False):  # the scale magnifies rounding
            logits_BU = log_scale.exp() * image_BD.float() @ text_UD.float().T
        return info_nce(logits_BU, chosen)

    def save(self, folder: Path) -> None:
        self._model.save(folder)

    def sample(self) -> torch.Tensor | None:
        return None


@dataclass(frozen=True)
class Chosen:
    """The captions that a batch is compared with.

    captions_U: the numbers of all of them.
    true_BU: whether each is true of an image, bool.
    drawn_BN: the captions drawn for an image, as places in captions_U; false_BN: whether each of
        those is false of it, bool.
    """

    captions_U: torch.Tensor
    true_BU: torch.Tensor
    drawn_BN: torch.Tensor
    false_BN: torch.Tensor


def choose(captions: Captions, rows_B: torch.Tensor, n: int, rngs: Generators) -> Chosen:
    """Return each image's true captions, and n captions drawn uniformly with replacement."""
    true = [np.asarray(captions.of_image[row]) for row in rows_B.tolist()]
    drawn_BN = np.stack([rng.integers(1, len(captions.texts), size=n) for rng in rngs])
    captions_U = np.unique(np.concatenate([*true, *drawn_BN]))
    true_BU = np.stack([np.isin(captions_U, of) for of in true])
    places_BN = np.searchsorted(captions_U, drawn_BN)
    false_BN = ~np.take_along_axis(true_BU, places_BN, axis=1)
    return Chosen(*map(torch.from_numpy, (captions_U, true_BU, places_BN, false_BN)))


def info_nce(logits_BU: torch.Tensor, chosen: Chosen) -> torch.Tensor:
    """Return -log softmax of a true caption among itself and the drawn false ones, (B,).

    van den Oord et al. 2018, eq. 4, with exp(logit) as f; the mean over the image's true captions,
    which a random one would estimate. Drawn captions that are true are left out: they are not part
    of the noise.
    """
    true_BU, drawn_BN, false_BN = (
        of.to(logits_BU.device) for of in (chosen.true_BU, chosen.drawn_BN, chosen.false_BN)
    )
    # Not -inf, which has no gradient where an image drew nothing that is false.
    nothing = torch.finfo(logits_BU.dtype).min
    others_BN = logits_BU.gather(1, drawn_BN).masked_fill(~false_BN, nothing)
    noise_B1 = torch.logsumexp(others_BN, dim=1, keepdim=True)
    losses_BU = torch.logaddexp(logits_BU, noise_B1) - logits_BU
    return (losses_BU * true_BU).sum(1) / true_BU.sum(1)
