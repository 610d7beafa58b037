"""Rows that share their draw give what one forward a row gives, at less work."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zsd_ray.config.run import ModelConfig
from zsd_ray.models import unet_rows
from zsd_ray.models.files.components import load_network
from zsd_ray.models.torchvision_ops import declare_missing_operators
from zsd_ray.models.unet_rows import UNetRows, is_plain

N_PROMPTS, LENGTH = 5, 7


def unet(**changes):
    declare_missing_operators()
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    options = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 24,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**(options | changes)).eval().requires_grad_(False)


NETWORKS = {
    "as in Stable Diffusion 1": {},
    "as in Stable Diffusion 2": {"use_linear_projection": True, "attention_head_dim": (2, 4)},
    "attention at the bottom only": {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    },
    "three levels, two layers a transformer": {
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": 2,
    },
}


def inputs(n_draws=3, size=8):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n_draws, 4, size, size, generator=generator)
    time = torch.linspace(10, 900, n_draws)
    hidden = torch.randn(N_PROMPTS, LENGTH, 24, generator=generator)
    draw = torch.arange(n_draws).repeat_interleave(4)
    prompt = torch.tensor([0, 1, 3, 4]).repeat(n_draws)
    return x, time, draw, prompt, hidden


def plain(network, x, time, draw, prompt, hidden):
    with torch.no_grad():
        return network(x[draw], time[draw], encoder_hidden_states=hidden[prompt]).sample


@pytest.mark.few(4)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [8, 10])  # 10 does not halve twice
@pytest.mark.parametrize("share_trunk", [True, False])
@pytest.mark.parametrize("cache_prompts", [True, False])
def test_equals_one_forward_a_row(name, size, share_trunk, cache_prompts):
    network = unet(**NETWORKS[name])
    assert is_plain(network)
    x, time, draw, prompt, hidden = inputs(size=size)
    expected = plain(network, x, time, draw, prompt, hidden)
    rows = UNetRows(network, hidden, share_trunk=share_trunk, cache_prompts=cache_prompts)
    torch.testing.assert_close(rows(x, time, draw, prompt), expected, rtol=1e-5, atol=1e-5)
    # The network still takes prompts themselves.
    torch.testing.assert_close(
        plain(network, x, time, draw, prompt, hidden), expected, rtol=1e-5, atol=1e-5
    )


def test_a_row_does_not_depend_on_how_many_draws_there_are():
    network = unet()
    x, time, draw, prompt, hidden = inputs(n_draws=11)
    rows = UNetRows(network, hidden)
    together = rows(x, time, draw, prompt)
    one = draw == 10  # alone in the second piece of the trunk
    apart = rows(x[10:], time[10:], torch.zeros(44, dtype=torch.int64), prompt[one].repeat(11))
    assert torch.equal(together[one], apart[:4])


def flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_the_trunk_and_the_prompts_are_computed_once():
    network = unet()
    x, time, draw, prompt, hidden = inputs(n_draws=8)  # a whole piece of the trunk
    counted = {}
    for share in (False, True):
        for cache in (False, True):
            rows = UNetRows(network, hidden, share_trunk=share, cache_prompts=cache)
            counted[share, cache] = flops(lambda rows=rows: rows(x, time, draw, prompt))
    n_rows, n_draws = len(draw), len(x)
    trunk = flops(lambda: unet_rows._trunk(network, x, time))
    assert counted[False, False] - counted[True, False] == trunk * (n_rows / n_draws - 1)
    widths = [layer.attn2.inner_dim for layer in network.modules() if hasattr(layer, "attn2")]
    keys_and_values = sum(2 * 2 * n_rows * LENGTH * 24 * width for width in widths)
    assert counted[True, False] - counted[True, True] == keys_and_values


@pytest.mark.parametrize(
    "changes",
    [
        {"class_embed_type": "timestep"},
        {"addition_embed_type": "text", "addition_embed_type_num_heads": 2},
        {"down_block_types": ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D",) * 2},
        {"only_cross_attention": True},
    ],
)
def test_other_networks_are_not_taken_for_plain_ones(changes):
    assert not is_plain(unet(**changes))


def test_prompts_that_do_not_fit_are_not_kept(monkeypatch, tiny_model):
    monkeypatch.setattr(unet_rows, "_CPU_CACHE_BYTES", 100)
    config = ModelConfig(path=str(tiny_model), device="cpu")
    network = load_network("UNet2DConditionModel", tiny_model / "unet", config, torch.float32)
    hidden = torch.randn(3, 12, network.config.cross_attention_dim)
    UNetRows(network, hidden)
    crosses = [m.attn2 for m in network.modules() if getattr(m, "attn2", None)]
    assert crosses
    assert all(cross.processor._cached is None for cross in crosses)


def test_a_network_that_was_bound_again_refuses_its_first_prompts():
    network = unet()
    x, time, draw, prompt, hidden = inputs()
    first = UNetRows(network, hidden)
    second = UNetRows(network, hidden.flip(0))
    second(x, time, draw, prompt)
    with pytest.raises(RuntimeError, match="bound to other prompts"):
        first(x, time, draw, prompt)
