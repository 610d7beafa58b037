"""What config.json says of a network, against its tensors: numbers that could not be so.

The libraries build whatever a configuration says before they look at the weights: a text in place
of a number ends in their traceback, a size of billions in all of the memory. No library here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zsd_ray.models.weight_files import Shapes
from zsd_ray.spec.errors import UserError

_SIZES = {
    # diffusers
    "addition_time_embed_dim",
    "attention_head_dim",
    "axes_dims_rope",
    "block_out_channels",
    "caption_channels",
    "caption_projection_dim",
    "cross_attention_dim",
    "encoder_hid_dim",
    "in_channels",
    "joint_attention_dim",
    "latent_channels",
    "norm_num_groups",
    "num_attention_heads",
    "num_class_embeds",
    "num_embeds_ada_norm",
    "out_channels",
    "patch_size",
    "pooled_projection_dim",
    "pos_embed_max_size",
    "projection_class_embeddings_input_dim",
    # transformers
    "d_ff",
    "d_kv",
    "d_model",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_heads",
    "projection_dim",
    "vocab_size",
    # open_clip and timm
    "context_length",
    "embed_dim",
    "head_width",
    "heads",
    "image_size",
    "num_classes",
    "num_features",
    "width",
}
"""Keys whose values are whole numbers, lists of them, or null."""
_COUNTS = {
    "depth",
    "depths",
    "layers",
    "layers_per_block",
    "num_decoder_layers",
    "num_hidden_layers",
    "num_layers",
    "num_single_layers",
    "transformer_layers_per_block",
}
"""Likewise, of how often something is repeated: less than there are tensors."""
_REALS = ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
_LARGEST_SIDE = 8192
_FACTOR = 64
"""No size is so many times the longest side of a tensor: 64 heads, 64 x 64 patches."""


def check_network(path: Path, config: Mapping[str, Any], shapes: Shapes) -> None:
    """Check the numbers of a config.json.

    Args:
        shapes: of all tensors of its network; none: they are not known.

    Raises:
        UserError: one could not be so.
    """
    most = _FACTOR * max((side for shape in shapes.values() for side in shape), default=1 << 20)
    most = max(most, 1 << 16)
    n_tensors = len(shapes) or 1 << 20
    for key, value in config.items():
        if key in _REALS:
            check_reals(path, key, value)
        elif key == "sample_size":
            _check_whole(path, key, value, 1, _LARGEST_SIDE)
        elif key in _COUNTS:
            _check_whole(path, key, value, 0, n_tensors)
        elif key in _SIZES:
            _check_whole(path, key, value, 0, most)


def check_reals(
    path: Path,
    key: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
) -> None:
    """Check that a value is a finite number in a range, a list of such, or null."""
    for number in _leaves(value):
        if number is None:
            continue
        real = isinstance(number, int | float) and not isinstance(number, bool)
        if not real or not math.isfinite(number) or not least <= number <= most:
            raise _refusal(path, key, number, "a number", least, most)


def _check_whole(path: Path, key: str, value: Any, least: int, most: int) -> None:
    for number in _leaves(value):
        if number is None:
            continue
        whole = isinstance(number, int | float) and not isinstance(number, bool)
        if not whole or not math.isfinite(number) or number % 1 or not least <= number <= most:
            raise _refusal(path, key, number, "a whole number", least, most)


def _refusal(path: Path, key: str, came: Any, what: str, least: float, most: float) -> UserError:
    between = ""
    if math.isfinite(least) and math.isfinite(most):
        between = f" from {least:,} to {most:,}"
    return UserError(
        f"{path}: {key} is {came!r}, and {what}{between} is expected: damaged, or of other "
        "weights; take another copy of the model"
    )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
