"""CLIP and its kin (Radford et al. 2021) as zero-shot classifiers, by open_clip.

A class is the mean of the embeddings of its prompts, each normalised before and the mean after
(ibid., section 3.1.4). Its score is -100 times the cosine to the image's embedding: minus the logit
of open_clip's own evaluation, whatever temperature a model learned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import Adapter
from zsd_ray.models.denoiser import Conditioning
from zsd_ray.models.files.clip_files import (
    LAYOUT,
    embedding_size,
    open_clip,
    reads_text_by_transformers,
)
from zsd_ray.models.files.components import as_rows, chunks, network_dtype, placed
from zsd_ray.models.files.loading import (
    loading,
    refuse_larger,
    refuse_not_finite,
    refuse_other_shapes,
)
from zsd_ray.models.files.single_file import weights_in
from zsd_ray.models.files.weight_files import check_whole
from zsd_ray.models.library_transform import LibraryTransform
from zsd_ray.records.errors import UserError

_TEMPERATURE = 100.0


class Clip:
    """A `Classifier` over the image tower."""

    def __init__(self, model: Any, n_dims: int, config: ModelConfig, device: torch.device) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        wanted = PreprocessCfg(**model.visual.preprocess_cfg)
        self._preprocess = LibraryTransform(image_transform_v2(wanted, is_train=False))
        self._model = _image_tower(model).to(device, network_dtype(config))
        self._dtype = network_dtype(config)
        self._n_dims = n_dims
        self.device = device

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        return self._preprocess(image)

    def classes(self, conditioning: Mapping[str, torch.Tensor], n_templates: int) -> torch.Tensor:
        """Return the class embeddings, (K, D) float32."""
        text = conditioning["text"].float()
        mean = text.reshape(-1, n_templates, text.shape[-1]).mean(dim=1)
        return torch.nn.functional.normalize(mean, dim=-1)

    def trial_classes(self) -> torch.Tensor:
        return torch.eye(2, self._n_dims, device=self.device)

    @torch.inference_mode()
    def scores(self, images_B3HW: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        features = self._model.encode_image(images_B3HW.to(self._dtype)).float()
        return -_TEMPERATURE * torch.nn.functional.normalize(features, dim=-1) @ classes.T


class ClipAdapter(Adapter):
    """Loads the models of open_clip."""

    def load(self, folder: Path, config: ModelConfig, device: torch.device) -> Clip:
        """Load checked files (see `clip_files.check`)."""
        return Clip(_network(folder, config), embedding_size(folder, config), config, device)

    @torch.inference_mode()
    def encode_prompts(
        self, folder: Path, config: ModelConfig, prompts: Sequence[str], device: torch.device
    ) -> Conditioning:
        """Return `text`: normalised embeddings of the prompts, (N, D)."""
        tokenizer = _tokenizer(folder, config)
        network = _network(folder, config)
        del network.visual
        network = placed(network, device)
        where = next(network.parameters()).device
        rows = [
            network.encode_text(tokenizer(some).to(where), normalize=True)
            for some in chunks(prompts)
        ]
        _check_texts(torch.cat(rows), prompts, embedding_size(folder, config), config)
        return {"text": as_rows(rows, config)}


def _check_texts(
    rows: torch.Tensor, prompts: Sequence[str], n_dims: int, config: ModelConfig
) -> None:
    """Refuse embeddings that do not distinguish prompts: the text tower's weights are wrong."""
    what = None
    if tuple(rows.shape) != (len(prompts), n_dims):
        what = f"embeddings of {' x '.join(map(str, rows.shape))} for {len(prompts)} prompts"
    elif not rows.isfinite().all():
        what = "embeddings of prompts that are not finite"
    elif len({prompt.lower() for prompt in prompts}) > 1 and (rows == rows[:1]).all():
        what = f"the same embedding to all of {len(prompts)} prompts"
    if what is not None:
        raise UserError(
            f"model.path {config.path} gives {what}, and {n_dims} finite numbers of its own are "
            "expected of each: its configuration is damaged, or the prompts differ only behind "
            "what it reads; take another copy of the model, or shorten them"
        )


def load_image_tower(
    folder: Path, config: ModelConfig, device: torch.device
) -> tuple[Any, tuple[int, int], Sequence[float], Sequence[float]]:
    """Return the image tower in float32, its input size, and the mean and deviation of its
    input."""
    model = _network(folder, config)
    wanted = model.visual.preprocess_cfg
    size = wanted["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return _image_tower(model).to(device), (height, width), wanted["mean"], wanted["std"]


def _network(folder: Path, config: ModelConfig) -> Any:
    pretrained = None if folder.is_dir() else config.pretrained
    weights = weights_in(folder, config, LAYOUT) if folder.is_dir() else folder
    shapes = check_whole([weights])
    if folder.is_dir():
        name = _name(folder, config)
        make = partial(open_clip().create_model, name, load_weights=False, device="meta")
        refuse_larger(weights, make, shapes, str(folder / LAYOUT.config))
    with loading(f"the weights {weights}"):
        network = open_clip().create_model(
            _name(folder, config),
            # A tag brings the input that it was trained on; the check has fetched its file.
            pretrained=os.path.expanduser(pretrained) if pretrained else None,
            require_pretrained=True,
        )
        # The library stretches embeddings of places to another size of images or of texts.
        refuse_other_shapes(weights, network, shapes, but=_SCALES)
        refuse_not_finite(weights, network.state_dict())
    return network.eval().requires_grad_(False)


_SCALES = ("logit_scale", "logit_bias")
"""Single numbers, saved with a dimension or without; no score depends on them."""


def _tokenizer(folder: Path, config: ModelConfig) -> Any:
    """Return the tokenizer; one from a folder runs no code of its own and fetches nothing."""
    options: dict[str, Any] = {}
    if folder.is_dir() and reads_text_by_transformers(folder):
        options = {"trust_remote_code": False, "local_files_only": True}
    with loading(f"the tokenizer of model.path {config.path}"):
        return open_clip().get_tokenizer(_name(folder, config), **options)


def _name(folder: Path, config: ModelConfig) -> str:
    return f"local-dir:{folder}" if folder.is_dir() else config.path


def _image_tower(network: Any) -> Any:
    """Return the network without its other towers, which `encode_image` does not run."""
    for name, _ in list(network.named_children()):
        if name != "visual":
            delattr(network, name)
    return network
