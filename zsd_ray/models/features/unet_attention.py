"""The attention maps of a U-Net's cross-attentions.

Shapes: B rows, h x w places of a map, L tokens of a prompt, D numbers of all heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch


@contextmanager
def attention_maps(unet: Any, size: tuple[int, int]) -> Iterator[list[torch.Tensor]]:
    """Collect the maps of the forwards of a UNet2DConditionModel inside the `with`.

    Queries and keys are read at the outputs of their projections, so that the forward is unchanged,
    whatever computes its attention; no hook stays on the U-Net, which is shared.

    Args:
        size: (H, W) of the U-Net's input x.

    Yields:
        A list, filled by the forward: one (B, h, w, L) float32 for each cross-attention, in the
        order in which they run: softmax(q k^T / sqrt(d)) in float32, the mean over heads.
    """
    maps: list[torch.Tensor] = []
    hooks = []
    try:
        for layer in unet.modules():
            if getattr(layer, "attn2", None) is not None:
                attn, parts = layer.attn2, dict[str, torch.Tensor]()
                for name in ("to_q", "to_k"):
                    take = partial(_take, maps, attn.heads, size, parts, name)
                    hooks.append(getattr(attn, name).register_forward_hook(take))
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def _take(
    maps: list[torch.Tensor],
    n_heads: int,
    size: tuple[int, int],
    parts: dict[str, torch.Tensor],
    name: str,
    module: Any,
    inputs: Any,
    output: torch.Tensor,
) -> None:
    """Handle a projection's output (a forward hook); make a map once query and key are both
    known."""
    parts[name] = output
    if len(parts) < 2:
        return
    queries_BnD, keys_BLD = parts.pop("to_q"), parts.pop("to_k")
    # Head by head: all together would take the memory of as many maps.
    heads = zip(queries_BnD.chunk(n_heads, -1), keys_BLD.chunk(n_heads, -1), strict=True)
    of_heads = sum((_attention(query, keys) for query, keys in heads), torch.zeros(()))
    height_width = _size(queries_BnD.shape[1], size)
    maps.append((of_heads / n_heads).view(len(of_heads), *height_width, -1))


def _attention(query_Bnd: torch.Tensor, keys_BLd: torch.Tensor) -> torch.Tensor:
    """Return the attention of one head, (B, n, L) float32."""
    query, keys = query_Bnd.float(), keys_BLd.float()
    return torch.softmax(query @ keys.transpose(1, 2) / math.sqrt(query.shape[-1]), dim=-1)


def _size(n_places: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width, halved from the input's and rounded up, that have so many
    places."""
    height, width = size
    while height * width > n_places:
        height, width = -(-height // 2), -(-width // 2)
    assert height * width == n_places
    return height, width
