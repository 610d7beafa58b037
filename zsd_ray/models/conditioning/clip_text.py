"""CLIP's text encoder (Radford et al. 2021), as pipelines with several text encoders use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.components import (
    chunks,
    load_text_encoder,
    load_tokenizer,
    placed,
    tokenized,
)


@torch.inference_mode()
def clip_outputs(
    kind: str,
    encoder_folder: Path,
    tokenizer_folder: Path,
    config: ModelConfig,
    prompts: Sequence[str],
    device: torch.device,
) -> Iterator[Any]:
    """Run the encoder of class `kind` on prompts cut or padded to its length, in float32.

    Yields:
        transformers' output for some prompts at a time, with the hidden states of every layer.
    """
    tokenizer = load_tokenizer("CLIPTokenizer", tokenizer_folder)
    encoder = placed(load_text_encoder(kind, encoder_folder, config, torch.float32), device)
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    for some in chunks(prompts):
        tokens = tokenized(tokenizer, some, length)
        yield encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True)
