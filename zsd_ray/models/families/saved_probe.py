"""A linear probe of a diffusion model's block, as a classifier ("SD features" of Li et al. 2023).

Its score is minus the log-probability of a class, among all classes of the probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file

from zsd_ray.config.pooling import Cell, pooling_name
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.features.probe_features import FeatureExtractor
from zsd_ray.models.files.loading import refuse_not_finite
from zsd_ray.models.files.probe_files import WEIGHTS, label_numbers, read, under_here
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store


class Probe:
    """A `Classifier` over a denoiser."""

    def __init__(self, folder: Path, config: ModelConfig, device: torch.device) -> None:
        about = read(folder)
        self._features = FeatureExtractor.load(
            resolve_model(under_here(folder, config), Store()),  # its files are here by now
            about.prompt,
            [about.t],
            [about.block],
            [about.pooling_section],
            about.seed,
        )
        self._cell = Cell(about.t, about.block, pooling_name(about.pooling_section))
        self._weights = folder / WEIGHTS
        weights = load_file(self._weights)
        refuse_not_finite(self._weights, weights)
        self._weight_KD, self._bias_K = weights["weight"], weights["bias"]
        self.device = device

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        # As data/pictures/transforms.py makes the images of a run, bit by bit.
        side = self._features.image_size
        square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
        scaled_HW3 = np.asarray(square).astype(np.float32) / 127.5 - 1.0
        return torch.from_numpy(np.ascontiguousarray(scaled_HW3.transpose(2, 0, 1)))

    def classes(self, conditioning: Mapping[str, torch.Tensor], n_templates: int) -> torch.Tensor:
        """Return label numbers, (K,) int64; prompts of one class mean the same label."""
        return conditioning["label"][::n_templates]

    def trial_classes(self) -> torch.Tensor:
        return torch.zeros(2, dtype=torch.int64, device=self.device)

    @torch.inference_mode()
    def scores(self, images_B3HW: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        features_BD = self._features(images_B3HW.cpu())[self._cell]
        width, n_features = self._weight_KD.shape[1], features_BD.shape[1]
        if n_features != width:  # seen when it is loaded, and tried
            raise UserError(
                f"{self._weights}: the tensor weight has {width} columns, and the features of "
                f"block {self._cell.block} of the model under the probe have {n_features} numbers: "
                "of another model, or block; make the probe again"
            )
        logits = features_BD.double() @ self._weight_KD.T + self._bias_K
        scores = -logits.log_softmax(dim=-1).float()
        return scores.to(self.device)[:, classes]


class ProbeAdapter(Adapter):
    """Loads saved probes."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> Probe:
        """Load a checked folder (see `probe_files.check`), and its diffusion model."""
        return Probe(folder, config, device)

    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `label`: numbers of the probe's labels, (N,) int64."""
        return {"label": label_numbers(folder, config, prompts)}
