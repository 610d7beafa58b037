"""The T5 text encoder (Raffel et al. 2020) of text-to-image transformers, which read its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.components import (
    chunks,
    load_text_encoder,
    load_tokenizer,
    network_dtype,
    placed,
    row_dtype,
    tokenized,
)

_PROMPTS_AT_ONCE = 8
"""Of T5-XXL and 512 tokens, the attention of 8 prompts takes 0.5 GB, and fills a GPU already."""


@torch.inference_mode()
def encode_tokens(
    encoder_folder: Path,
    tokenizer_folder: Path,
    config: ModelConfig,
    prompts: Sequence[str],
    length: int,
    device: torch.device,
) -> NDArray[Any]:
    """Return the last hidden states (N, length, D) of prompts cut or padded to `length` tokens.

    Padding is encoded as any token: Stable Diffusion 3 and FLUX.1 use T5 without a mask. T5-XXL
    has 4.7 billion parameters: beside a half-precision network it runs in bfloat16, because its
    activations overflow float16.
    """
    return _encode(encoder_folder, tokenizer_folder, config, prompts, length, device, False)[0]


@torch.inference_mode()
def encode_masked_tokens(
    folder: Path,
    config: ModelConfig,
    prompts: Sequence[str],
    length: int,
    device: torch.device,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Like `encode_tokens`, but with padding masked, for `text_encoder` in a pipeline folder.

    Prompts are lowered and stripped, as PixArt and DeepFloyd IF do. (Their further cleaning, of
    links and markup, is for captions from the web, and needs packages of its own.)

    Returns:
        Hidden states (N, length, D), and a mask (N, length) int64: 1 for a token, 0 for padding.
    """
    cleaned = [prompt.lower().strip() for prompt in prompts]
    encoder, tokenizer = folder / "text_encoder", folder / "tokenizer"
    return _encode(encoder, tokenizer, config, cleaned, length, device, True)


def _encode(
    encoder_folder: Path,
    tokenizer_folder: Path,
    config: ModelConfig,
    prompts: Sequence[str],
    length: int,
    device: torch.device,
    masked: bool,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    tokenizer = load_tokenizer("T5TokenizerFast", tokenizer_folder)
    dtype = torch.float32 if network_dtype(config) == torch.float32 else torch.bfloat16
    encoder = placed(load_text_encoder("T5EncoderModel", encoder_folder, config, dtype), device)
    # Filled in place: of a thousand prompts these are gigabytes, and a copy is as many again.
    rows = np.empty((len(prompts), length, encoder.config.d_model), dtype=row_dtype(config))
    masks = np.empty((len(prompts), length), dtype=np.int64)
    done = 0
    for some in chunks(prompts, _PROMPTS_AT_ONCE):
        tokens = tokenized(tokenizer, some, length)
        mask = tokens.attention_mask.to(encoder.device) if masked else None
        hidden = encoder(tokens.input_ids.to(encoder.device), attention_mask=mask)
        rows[done : done + len(some)] = hidden.last_hidden_state.float().cpu().numpy()
        masks[done : done + len(some)] = tokens.attention_mask.numpy()
        done += len(some)
    return rows, masks
