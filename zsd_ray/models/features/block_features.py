"""The outputs of the blocks of a network, collected during one forward.

Shapes: B rows, C channels of a block, h x w its places, n = h * w its tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import isqrt
from typing import Any

import torch


@contextmanager
def block_features(network: Any) -> Iterator[dict[str, torch.Tensor]]:
    """Collect the block outputs of a diffusers network during the forwards inside the `with`.

    The forward itself is unchanged, and no hook stays on the network, which is shared.

    Yields:
        A dictionary, filled by the forward in the order in which blocks run, (B, C, h, w) float32
        each. A U-Net's blocks are `down.0` and following, `mid`, `up.0` and following: the output
        that is passed to the next block, without its skip connections. A transformer's are
        `layer.0` and following: the image tokens, in their places; text tokens are left out.
    """
    found: dict[str, torch.Tensor] = {}
    hooks = []
    try:
        for name, block in _blocks(network):
            hooks.append(block.register_forward_hook(partial(_take, found, name)))
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _blocks(network: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    if hasattr(network, "down_blocks"):
        for number, block in enumerate(network.down_blocks):
            yield f"down.{number}", block
        if network.mid_block is not None:
            yield "mid", network.mid_block
        for number, block in enumerate(network.up_blocks):
            yield f"up.{number}", block
        return
    # FLUX has a second kind of layers behind the first.
    layers = [*network.transformer_blocks, *getattr(network, "single_transformer_blocks", ())]
    for number, layer in enumerate(layers):
        yield f"layer.{number}", layer


def _take(found: dict[str, torch.Tensor], name: str, module: Any, inputs: Any, output: Any) -> None:
    """A forward hook on a block."""
    if not name.startswith("layer"):
        x_BCHW = output[0] if isinstance(output, tuple) else output
        found[name] = x_BCHW.float()
        return
    # Layers that also carry text return it first.
    x_BnC = output[-1] if isinstance(output, tuple) else output
    side = isqrt(x_BnC.shape[1])
    assert side**2 == x_BnC.shape[1], "only square images are scored"
    found[name] = x_BnC.float().transpose(1, 2).unflatten(2, (side, side))
