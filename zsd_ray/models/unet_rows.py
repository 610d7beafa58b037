"""A text-conditional U-Net over rows that share their noised image: one forward for many classes.

The rows of one draw differ in their prompt only. So the part before the first cross-attention is
computed once per draw, not once per row; and a prompt's keys and values in every cross-attention
once per run, if memory allows. Both change numbers only in the last bits.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch.nn.functional import scaled_dot_product_attention

from zsd_ray.models.rows import Compiled, as_it_is

_BLOCKS = {"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}
_PLAIN = {  # what a configuration must say, or not say at all, for this forward to be the U-Net's
    "addition_embed_type": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "dual_cross_attention": False,
    "encoder_hid_dim_type": None,
    "mid_block_only_cross_attention": None,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
}
_DRAWS_AT_ONCE = 8
_CACHE_SHARE = 0.25
_CPU_CACHE_BYTES = 1 << 30


def is_plain(unet: Any) -> bool:
    """Whether a UNet2DConditionModel is conditioned by cross-attention alone."""
    config = unet.config
    blocks = {*config.down_block_types, *config.up_block_types}
    plain = all(config.get(key, value) == value for key, value in _PLAIN.items())
    return plain and blocks <= _BLOCKS and "CrossAttnDownBlock2D" in blocks


class UNetRows:
    """A plain U-Net bound to the prompts of a run; a `RowNetwork`.

    Args:
        hidden: (N, L, D), the encoded prompts, on the device.
        share_trunk, cache_prompts: for benchmarks, which leave one out.
        wrap: compiles the two main functions, if given.
    """

    def __init__(
        self,
        unet: Any,
        hidden_NLD: torch.Tensor,
        wrap: Compiled = as_it_is,
        share_trunk: bool = True,
        cache_prompts: bool = True,
    ) -> None:
        self._unet = unet
        self._share_trunk = share_trunk
        hidden = hidden_NLD.to(unet.dtype)
        crosses = [layer.attn2 for layer in unet.modules() if getattr(layer, "attn2", None)]
        cached = cache_prompts and _fits(crosses, hidden)
        for cross in crosses:
            cross.set_processor(_Cross(cross, hidden, cached))
        self._last = crosses[-1]
        self._mine = crosses[-1].processor
        self._trunk = wrap(partial(_trunk, unet))
        self._rest = wrap(partial(_rest, unet))

    @torch.no_grad()  # not inference mode, which torch.compile cannot trace
    def __call__(
        self,
        x_UCHW: torch.Tensor,
        time_U: torch.Tensor,
        draw_B: torch.Tensor,
        prompt_B: torch.Tensor,
    ) -> torch.Tensor:
        if self._last.processor is not self._mine:
            raise RuntimeError("this network has been bound to other prompts meanwhile")
        if not self._share_trunk:
            x_UCHW, time_U = x_UCHW[draw_B], time_U[draw_B]
            draw_B = torch.arange(len(draw_B), device=draw_B.device)
        # In pieces of one size, so that a draw's last bits do not depend on how many there are.
        pad = -len(x_UCHW) % _DRAWS_AT_ONCE
        x = torch.cat([x_UCHW, x_UCHW[:1].expand(pad, -1, -1, -1)]).to(self._unet.dtype)
        time = torch.cat([time_U, time_U[:1].expand(pad)])
        pieces = zip(torch.split(x, _DRAWS_AT_ONCE), torch.split(time, _DRAWS_AT_ONCE), strict=True)
        parts = zip(*(self._trunk(*piece) for piece in pieces), strict=True)
        rest = [torch.cat(part)[draw_B] for part in parts]
        return cast(torch.Tensor, self._rest(rest, prompt_B))


def _trunk(unet: Any, x: torch.Tensor, time: torch.Tensor) -> list[torch.Tensor]:
    """Compute the part that does not depend on the prompt, up to the first cross-attention's query.

    Returns:
        The time embedding, the skip connections so far, and of the first transformer its input,
        the tokens and their query.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    emb = unet.time_embedding(unet.get_time_embed(sample=x, timestep=time))
    x = unet.conv_in(x)
    skips = [x]
    for block in unet.down_blocks:
        if hasattr(block, "attentions"):
            break
        x, more = block(hidden_states=x, temb=emb)
        skips += more
    x = block.resnets[0](x, emb)
    first = block.attentions[0]
    h = first.norm(x)
    if first.use_linear_projection:
        h = first.proj_in(_to_tokens(h))
    else:
        h = _to_tokens(first.proj_in(h))
    layer = first.transformer_blocks[0]
    h = layer.attn1(layer.norm1(h)) + h
    return [emb, *skips, x, h, layer.norm2(h)]


def _rest(unet: Any, trunk: list[torch.Tensor], prompt: torch.Tensor) -> torch.Tensor:
    """Run the U-Net from the first cross-attention on; every tensor has B rows."""
    emb, *skips, x, h, query = trunk
    blocks = list(unet.down_blocks)
    n_shared = next(n for n, block in enumerate(blocks) if hasattr(block, "attentions"))
    for number, block in enumerate(blocks[n_shared:]):
        if not hasattr(block, "attentions"):
            x, more = block(hidden_states=x, temb=emb)
            skips += more
            continue
        for place, (resnet, attention) in enumerate(
            zip(block.resnets, block.attentions, strict=True)
        ):
            if number == place == 0:
                x = _first_attention(attention, x, h, query, prompt)
            else:
                x = attention(resnet(x, emb), encoder_hidden_states=prompt, return_dict=False)[0]
            skips.append(x)
        for downsampler in block.downsamplers or ():
            x = downsampler(x)
            skips.append(x)
    x = unet.mid_block(x, emb, encoder_hidden_states=prompt)
    for block in unet.up_blocks:
        n = len(block.resnets)
        mine, skips = tuple(skips[-n:]), skips[:-n]
        options = {"encoder_hidden_states": prompt} if hasattr(block, "attentions") else {}
        # Sizes that do not halve evenly are met again on the way up.
        size = skips[-1].shape[2:] if skips else None
        x = block(
            hidden_states=x, res_hidden_states_tuple=mine, temb=emb, upsample_size=size, **options
        )
    if unet.conv_norm_out is not None:
        x = unet.conv_act(unet.conv_norm_out(x))
    return cast(torch.Tensor, unet.conv_out(x).float())


def _first_attention(
    attention: Any, x: torch.Tensor, h: torch.Tensor, query: torch.Tensor, prompt: torch.Tensor
) -> torch.Tensor:
    """Run a Transformer2DModel from its first cross-attention on."""
    first, *others = attention.transformer_blocks
    h = first.attn2(query, encoder_hidden_states=prompt) + h
    h = first.ff(first.norm3(h)) + h
    for layer in others:
        h = layer(h, encoder_hidden_states=prompt)
    size = x.shape[2:]
    if attention.use_linear_projection:
        return _to_image(attention.proj_out(h), size) + x
    return cast(torch.Tensor, attention.proj_out(_to_image(h, size)) + x)


def _to_tokens(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _to_image(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return x.reshape(len(x), *size, -1).permute(0, 3, 1, 2)


class _Cross:
    """Cross-attention that takes prompt numbers of rows, or encoded prompts as usual."""

    def __init__(self, attn: Any, hidden_NLD: torch.Tensor, cached: bool) -> None:
        self._hidden = hidden_NLD
        self._cached: tuple[torch.Tensor, torch.Tensor] | None = None
        if cached:
            with torch.no_grad():
                pieces = torch.split(hidden_NLD, 64)
                self._cached = (
                    torch.cat([attn.to_k(piece) for piece in pieces]),
                    torch.cat([attn.to_v(piece) for piece in pieces]),
                )

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *_: Any,
        **__: Any,
    ) -> torch.Tensor:
        prompt = encoder_hidden_states
        if self._cached is not None and not prompt.is_floating_point():
            keys, values = self._cached[0][prompt], self._cached[1][prompt]
        else:
            rows = prompt if prompt.is_floating_point() else self._hidden[prompt]
            keys, values = attn.to_k(rows), attn.to_v(rows)
        return _attend(attn, hidden_states, keys, values)


def _attend(attn: Any, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    query, keys, values = (
        part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        for part in (attn.to_q(x), keys, values)
    )
    out = scaled_dot_product_attention(query, keys, values).transpose(1, 2).flatten(2)
    return cast(torch.Tensor, attn.to_out[0](out))


def _fits(crosses: list[Any], hidden_NLD: torch.Tensor) -> bool:
    """Whether the keys and values of all prompts fit in a share of the free memory."""
    n, length, _ = hidden_NLD.shape
    size = sum(2 * cross.inner_dim for cross in crosses) * n * length * hidden_NLD.element_size()
    if hidden_NLD.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(hidden_NLD.device)
        return bool(size <= _CACHE_SHARE * free)
    return bool(size <= _CPU_CACHE_BYTES)
