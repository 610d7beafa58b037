"""A new, small open_clip model with random weights, from which `zsd-ray train` starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zsd_ray.config.training import ClipNetworkConfig
from zsd_ray.models.files.clip_files import LAYOUT, open_clip
from zsd_ray.records.errors import UserError

# Images come in [-1, 1]; whoever loads the folder prepares them alike.
_PREPROCESSING = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@dataclass(frozen=True)
class NewClip:
    """A network, its tokenizer, and its configuration for the folder."""

    network: Any
    tokenizer: Any
    config: Mapping[str, Any]

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """Return each text's row of tokens, (N, L) int64.

        Raises:
            UserError: a text has more than L tokens.
        """
        length = self.tokenizer.context_length
        # One more, which the library fills where it would otherwise cut without a word.
        tokens: torch.Tensor = self.tokenizer(list(texts), context_length=length + 1)
        if tokens[:, length].any():
            text = max(texts, key=lambda text: len(self.tokenizer.encode(text)))
            n = len(self.tokenizer.encode(text)) + 2
            raise UserError(
                f"network.prompt_length {length} is too short for the caption {text!r}, which has "
                f"{n} tokens with its start and end; set {n} or more"
            )
        return tokens[:, :length]

    def save(self, folder: Path) -> None:
        """Write an open_clip folder, float32."""
        from safetensors.torch import save_file

        weights = {name: t.detach().cpu() for name, t in self.network.state_dict().items()}
        save_file(weights, folder / LAYOUT.weights[0])
        # The library's own way needs a tokenizer that can be saved, and this one is part of it.
        content = {"model_cfg": self.config, "preprocess_cfg": _PREPROCESSING}
        (folder / LAYOUT.config).write_text(json.dumps(content, indent=2), encoding="utf-8")


def build(config: ClipNetworkConfig, seed: int) -> NewClip:
    """Build the network (Radford et al. 2021, with a ResNet) and CLIP's tokenizer."""
    library = open_clip()
    tokenizer = library.SimpleTokenizer(context_length=config.prompt_length)
    architecture = {
        "embed_dim": config.embedding_width,
        "vision_cfg": {
            "image_size": config.image_size,
            "width": config.image_width,
            "layers": config.image_blocks,
        },
        "text_cfg": {
            "context_length": config.prompt_length,
            "vocab_size": tokenizer.vocab_size,
            "width": config.text_width,
            "layers": config.text_layers,
            "heads": config.text_heads,
        },
    }
    torch.manual_seed(seed)
    return NewClip(library.CLIP(**architecture), tokenizer, architecture)
