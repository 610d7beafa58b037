"""Trains a small CLIP (Radford et al. 2021) with negatives that are drawn.

CLIP takes the captions of a batch's other images as negatives. Here every image draws its own from
all captions of the data, by its own random numbers: its loss does not depend on the rest of the
batch, so neither does the curve on the number of workers. There is no loss the other way round, of
a caption against images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zsd_ray.models.new_clip import build
from zsd_ray.spec.train_config import ContrastiveTraining
from zsd_ray.training.batches import Epochs, Generators, TrainingImages
from zsd_ray.training.captions import Captions
from zsd_ray.training.task import Batch, Stage

_LARGEST_LOG_SCALE = math.log(100)  # as CLIP's, section 2.5


class ContrastiveTask:
    """A `Task`."""

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
        with torch.no_grad():  # after each step, as CLIP does; clamped here it had no gradient
            log_scale.clamp_(max=_LARGEST_LOG_SCALE)
        captions_BM, false_BM = choose(self._captions, batch.rows_B, self._n_negatives, batch.rngs)
        unique_U, place_BM = torch.unique(captions_BM, return_inverse=True)
        text_UD = network.encode_text(self._tokens_PL[unique_U].to(self._device), normalize=True)
        image_BD = network.encode_image(batch.x_B3SS, normalize=True)
        with torch.autocast(self._device.type, enabled=False):  # the scale magnifies rounding
            logits_BU = log_scale.exp() * image_BD.float() @ text_UD.float().T
        logits_BM = logits_BU.gather(1, place_BM.to(self._device))
        return info_nce(logits_BM, false_BM.to(self._device))

    def save(self, folder: Path) -> None:
        self._model.save(folder)

    def sample(self) -> torch.Tensor | None:
        return None


def choose(
    captions: Captions, rows_B: torch.Tensor, n: int, rngs: Generators
) -> tuple[torch.Tensor, torch.Tensor]:
    """A true caption of each image, and n of all captions, drawn with replacement.

    Returns:
        Their numbers, the true one first, (B, 1 + n) int64; and which of them are false of the
        image, (B, 1 + n) bool.
    """
    true_B = captions.sample(rows_B, rngs)
    drawn_BN = np.stack([rng.integers(1, len(captions.texts), size=n) for rng in rngs])
    chosen_BM = torch.cat([true_B[:, None], torch.from_numpy(drawn_BN)], dim=1)
    of_rows = (captions.of_image[row] for row in rows_B.tolist())
    false_BM = [
        np.isin(chosen, true, invert=True)
        for chosen, true in zip(chosen_BM.numpy(), of_rows, strict=True)
    ]
    return chosen_BM, torch.from_numpy(np.stack(false_BM))


def info_nce(logits_BM: torch.Tensor, false_BM: torch.Tensor) -> torch.Tensor:
    """-log softmax of the first of each row among itself and the false ones, (B,).

    van den Oord et al. 2018, eq. 4, with exp(logit) as f. What else is true of the image is left
    out: it is no sample of the noise that the right one is to be told from.
    """
    allowed_BM = false_BM.clone()
    allowed_BM[:, 0] = True
    kept_BM = logits_BM.masked_fill(~allowed_BM, -math.inf)
    return torch.logsumexp(kept_BM, dim=1) - logits_BM[:, 0]
