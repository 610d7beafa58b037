"""Checks of the numbers in a network's config.json, also against its tensors.

The libraries build the configured network before they look at the weights: a text in place of a
    number ends in a traceback, a size of billions exhausts the memory. No library here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsd_ray.models.files.weight_files import Shapes
from zsd_ray.records.errors import UserError

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
_ONE = {"in_channels", "latent_channels", "out_channels", "vocab_size"}
"""Those of them that are never lists."""
_LISTS = {"block_out_channels"}
"""Those that are nothing else."""
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


@dataclass(frozen=True)
class Range:
    """The allowed numbers of a key; an open end is excluded."""

    least: float = -math.inf
    most: float = math.inf
    open_below: bool = True
    open_above: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.least if self.open_below else number >= self.least
        below = number < self.most if self.open_above else number <= self.most
        return _is_finite(number) and above and below

    def __str__(self) -> str:
        """Return the end of a message that begins "a number"."""
        parts = []
        if math.isfinite(self.least):
            parts.append(f"{'above' if self.open_below else 'from'} {self.least:g}")
        if math.isfinite(self.most):
            parts.append(f"{'below' if self.open_above else 'up to'} {self.most:g}")
        return " and ".join(parts)


_ANY, _POSITIVE, _SMALL = Range(), Range(0.0), Range(0.0, 1.0, open_below=False)
_REALS = {
    "scaling_factor": _POSITIVE,
    "shift_factor": _ANY,
    "latents_mean": _ANY,
    "latents_std": _POSITIVE,
    "norm_eps": _SMALL,
    "layer_norm_eps": _SMALL,
    "layer_norm_epsilon": _SMALL,
    "freq_shift": _ANY,
    "mid_block_scale_factor": _POSITIVE,
    "resnet_out_scale_factor": _POSITIVE,
}
"""Keys whose values are numbers, with those that they may have."""
_NEVER_NULL = ("norm_eps", "layer_norm_eps", "layer_norm_epsilon", "freq_shift")
_EACH_CHANNEL = ("latents_mean", "latents_std")
"""Keys whose values are lists of numbers, one a channel of the latents, or null."""
_LATENT_CHANNELS = 4
"""Of a VAE that does not say it; the library's own."""
_LARGEST_SIDE = 8192
_FACTOR = 64
"""No size is so many times the longest side of a tensor: 64 heads, 64 x 64 patches."""


def check_network(path: Path, config: Mapping[str, Any], shapes: Shapes) -> None:
    """Check the numbers of a config.json.

    Args:
        shapes: of all tensors of its network; none: unknown.

    Raises:
        UserError: one is impossible.
    """
    most = _FACTOR * max((side for shape in shapes.values() for side in shape), default=1 << 20)
    most = max(most, 1 << 16)
    n_tensors = len(shapes) or 1 << 20
    for key, value in config.items():
        if key in _REALS:
            check_reals(path, key, value, _REALS[key], nullable=key not in _NEVER_NULL)
        elif key == "sample_size":
            _check_whole(path, key, value, 1, _LARGEST_SIDE)
        elif key in _COUNTS:
            _check_whole(path, key, value, 0, n_tensors)
        elif key in _SIZES:
            _check_whole(path, key, value, 0, most)
        if key in _ONE and isinstance(value, list):
            raise _refusal(path, key, value, "a whole number, and no list,")
        if key in _LISTS and value is not None and not (isinstance(value, list) and value):
            raise _refusal(path, key, value, "a list of whole numbers")
    _check_each_channel(path, config)


def check_reals(
    path: Path, key: str, value: Any, allowed: Range = _ANY, nullable: bool = True
) -> None:
    """Check that a value is a finite number in a range, a list of them or, where allowed, null."""
    for number in _leaves(value):
        if number is None and nullable:
            continue
        real = isinstance(number, int | float) and not isinstance(number, bool)
        if not real or number not in allowed:
            raise _refusal(path, key, number, f"a number {allowed}".rstrip())


def _check_each_channel(path: Path, config: Mapping[str, Any]) -> None:
    """Check that the scaling of latents has a number for each of their channels."""
    n_channels = config.get("latent_channels", _LATENT_CHANNELS)
    for key in _EACH_CHANNEL:
        value = config.get(key)
        if value is None or type(n_channels) is not int:
            continue
        if not isinstance(value, list) or len(value) != n_channels:
            came = value if len(repr(value)) < 80 else f"{len(value):,} numbers"
            raise _refusal(path, key, came, f"a list of latent_channels {n_channels:,} numbers")
        if any(isinstance(number, list) or number is None for number in value):
            raise _refusal(path, key, value[0], f"a list of {n_channels:,} numbers")


def _check_whole(path: Path, key: str, value: Any, least: int, most: int) -> None:
    for number in _leaves(value):
        if number is None:
            continue
        whole = isinstance(number, int | float) and not isinstance(number, bool)
        if not whole or not _is_finite(number) or number % 1 or not least <= number <= most:
            raise _refusal(path, key, number, f"a whole number from {least:,} to {most:,}")


def _refusal(path: Path, key: str, came: Any, expected: str) -> UserError:
    return UserError(
        f"{path}: {key} is {came!r}, and {expected} is expected: damaged, or of other weights; "
        "take another copy of the model"
    )


def _is_finite(number: float) -> bool:
    """Whether a number is finite as a float; it may be an integer of hundreds of digits."""
    return -sys.float_info.max <= number <= sys.float_info.max


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
