"""Supervised image classifiers of timm, to compare zero-shot classifiers with.

The score of a class is minus the log-probability of its label, among all labels of the model: the
choice of classes of a run changes no score. A class of several labels has the score of the
likeliest, so that the predicted class is the one that the most likely of all their labels belongs
to, as ObjectNet is scored (Barbu et al. 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.files.components import network_dtype
from zsd_ray.models.files.loading import (
    loading,
    refuse_larger,
    refuse_not_finite,
    refuse_other_shapes,
)
from zsd_ray.models.files.single_file import weights_in
from zsd_ray.models.files.timm_files import LAYOUT, label_numbers, n_labels, timm
from zsd_ray.models.files.weight_files import check_whole
from zsd_ray.models.library_transform import LibraryTransform


class TimmClassifier:
    """A `Classifier` over one network."""

    def __init__(self, network: Any, config: ModelConfig, device: torch.device) -> None:
        from timm.data import create_transform, resolve_data_config

        # At the size of training; timm's own tables are often of a larger test_input_size.
        wanted = resolve_data_config({}, model=network)
        self._preprocess = LibraryTransform(create_transform(**wanted, is_training=False))
        self._dtype = network_dtype(config)
        self._network = network.to(device, self._dtype)
        self.device = device

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        return self._preprocess(image)

    def classes(self, conditioning: Mapping[str, torch.Tensor], n_templates: int) -> torch.Tensor:
        """Return label numbers, (K, M) int64, padded with -1; prompts of one class mean the same
        labels."""
        return conditioning["label"][::n_templates]

    def trial_classes(self) -> torch.Tensor:
        return torch.zeros(2, 1, dtype=torch.int64, device=self.device)

    @torch.inference_mode()
    def scores(self, images_B3HW: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        logits = self._network(images_B3HW.to(self._dtype)).float()
        of_label = logits.log_softmax(dim=-1)[:, classes]  # of label -1 too, which is none
        return cast(torch.Tensor, -of_label.masked_fill(classes < 0, -torch.inf).amax(dim=-1))

    @torch.inference_mode()
    def pooled(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Return the pooled features, which are the input of the head, (B, D) float32."""
        features = self._network.forward_features(images_B3HW.to(self._dtype))
        vectors = self._network.forward_head(features, pre_logits=True)
        return cast(torch.Tensor, vectors.flatten(1).float())


class TimmAdapter(Adapter):
    """Loads the classifiers of timm."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> TimmClassifier:
        """Load checked files (see `timm_files.check`)."""
        weights = weights_in(folder, config, LAYOUT) if folder.is_dir() else folder
        count = n_labels(folder, config)
        name = f"local-dir:{folder}" if folder.is_dir() else config.path
        make, shapes = partial(timm().create_model, name, num_classes=count), check_whole([weights])
        refuse_larger(weights, make, shapes, f"model.path {config.path}")
        with loading(f"the weights {weights}"):
            network = make(
                pretrained=True,
                pretrained_cfg_overlay={
                    # This very file, with its own head: of another number of labels timm makes a
                    # random one.
                    "source": "",
                    "file": str(weights),
                    "num_classes": count,
                    # A folder's own configuration could name others.
                    "state_dict": None,
                    "custom_load": False,
                },
            )
            # The library adapts inputs of other channels, and embeddings of places.
            refuse_other_shapes(weights, network, shapes, but=_with_background(network))
            refuse_not_finite(weights, network.state_dict())
        return TimmClassifier(network.eval().requires_grad_(False), config, device)

    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `label`: numbers of the model's labels, (N, M) int64, padded with -1."""
        return {"label": label_numbers(folder, config, prompts)}


def _with_background(network: Any) -> list[str]:
    """Return the tensors of a head whose file has an extra background class, which the library
    drops."""
    about = network.pretrained_cfg
    heads = about.get("classifier") if about.get("label_offset") else None
    names = [heads] if isinstance(heads, str) else list(heads or ())
    return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
