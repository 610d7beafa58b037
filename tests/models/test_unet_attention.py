"""Maps of a U-Net's cross-attentions, against what its own queries and keys say."""

import numpy as np
import pytest
import torch

from tests.support.models import encode_prompts, load_model
from tests.support.tiny_models import BUILDERS
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.features.unet_attention import attention_maps
from zsd_ray.models.rows import as_it_is
from zsd_ray.models.torchvision_ops import declare_missing_operators

PROMPTS = ["a photo of a cat.", "a drawing of a dog", ""]
TIME = torch.tensor([30.0, 500.0, 900.0])


def load(path, **keys):
    """A model, and conditioning of three prompts."""
    config = ModelConfig(path=str(path), device="cpu", **keys)
    rows = encode_prompts(config, PROMPTS)
    return load_model(config), {name: torch.from_numpy(of) for name, of in rows.items()}


def noised(model):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, *model.sample_shape, generator=generator)


@pytest.fixture(scope="module", params=["tiny", "digits"])
def loaded(request, tiny_model):
    return load(tiny_model if request.param == "tiny" else "builtin:digits")


def projected(unet, forward):
    """(query, keys, heads) of each cross-attention, in the order in which they run."""
    found, hooks = [], []
    for layer in unet.modules():
        if getattr(layer, "attn2", None) is not None:
            attn = layer.attn2
            hooks.append(
                attn.to_q.register_forward_hook(
                    lambda module, inputs, output, heads=attn.heads: found.append([output, heads])
                )
            )
            hooks.append(
                attn.to_k.register_forward_hook(
                    lambda module, inputs, output: found[-1].append(output)
                )
            )
    with torch.no_grad():
        forward()
    for hook in hooks:
        hook.remove()
    return [(query.double().numpy(), keys.double().numpy(), heads) for query, heads, keys in found]


def plain_map(query_BnD, keys_BLD, heads):
    """softmax(q k^T / sqrt(d)), the mean over heads: (B, n, L), a row and a head at a time."""
    n_rows, n_places, width = query_BnD.shape
    d = width // heads
    out = np.zeros((n_rows, n_places, keys_BLD.shape[1]))
    for row in range(n_rows):
        for head in range(heads):
            mine = slice(head * d, (head + 1) * d)
            weight = np.exp(query_BnD[row, :, mine] @ keys_BLD[row, :, mine].T / np.sqrt(d))
            out[row] += weight / weight.sum(axis=1, keepdims=True) / heads
    return out


def check(maps, of_unet, sizes):
    assert [tuple(of_layer.shape[1:3]) for of_layer in maps] == sizes
    for of_layer, projections in zip(maps, of_unet, strict=True):
        assert of_layer.dtype == torch.float32
        np.testing.assert_allclose(of_layer.sum(dim=-1), 1, rtol=1e-5)
        expected = plain_map(*projections)
        np.testing.assert_allclose(of_layer.flatten(1, 2), expected, rtol=1e-4, atol=1e-6)


def test_maps_are_what_queries_and_keys_say(loaded):
    model, conditioning = loaded
    x = noised(model)
    with torch.no_grad():
        maps = model.attention(x, TIME, conditioning)
    found = projected(model._network, lambda: model.predict(x, TIME, conditioning))
    assert len(found) == sum("attn2.to_q" in name for name in model._network.state_dict())
    height, width = (-(-size // 2) for size in model.sample_shape[1:])
    check(maps, found, [(height, width)] * len(found))
    # Rows differ, so that none of this holds by accident.
    assert not torch.allclose(maps[0][0], maps[0][1], atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (10, 10), (10, 6)])  # 10 does not halve twice
def test_maps_of_several_sizes_come_in_the_order_of_the_network(size):
    declare_missing_operators()
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24,
        attention_head_dim=(2, 4, 2),
        norm_num_groups=4,
    ).eval()
    x, hidden = torch.randn(3, 4, *size), torch.randn(3, 7, 24)

    def forward():
        unet(x, TIME, encoder_hidden_states=hidden)

    with torch.no_grad(), attention_maps(unet, size) as maps:
        forward()
    levels = [size]
    for _ in range(2):
        levels.append(tuple(-(-length // 2) for length in levels[-1]))
    first, second, bottom = levels
    sizes = [first, second, bottom, second, second, first, first]
    check(maps, projected(unet, forward), sizes)


def test_the_forward_is_that_of_predict(loaded, monkeypatch):
    model, conditioning = loaded
    x, predict, outputs = noised(model), model.predict, []
    monkeypatch.setattr(model, "predict", lambda *rows: outputs.append(predict(*rows)))
    before = [*model._network.attn_processors.values()]
    with torch.no_grad():
        model.attention(x, TIME, conditioning)
        assert torch.equal(outputs[0], predict(x, TIME, conditioning))
    after = [*model._network.attn_processors.values()]
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_nothing_stays_on_the_network(loaded):
    model, conditioning = loaded
    x = noised(model)
    model.attention(x, TIME, conditioning)
    assert not any(module._forward_hooks for module in model._network.modules())
    with pytest.raises(RuntimeError):  # tokens of a width that no key has
        model.attention(x, TIME, {"hidden": conditioning["hidden"][..., 1:]})
    assert not any(module._forward_hooks for module in model._network.modules())


def test_a_network_that_is_bound_to_prompts_shows_the_same(tiny_model):
    model, conditioning = load(tiny_model)
    x = noised(model)
    expected = model.attention(x, TIME, conditioning)
    assert model.row_network(conditioning, as_it_is) is not None
    for one, other in zip(expected, model.attention(x, TIME, conditioning), strict=True):
        torch.testing.assert_close(one, other)


def test_maps_of_a_network_in_half_precision_are_float32(tiny_model):
    model, conditioning = load(tiny_model, dtype="bfloat16")
    x = noised(model)
    with torch.no_grad():
        maps = model.attention(x, TIME, conditioning)
    found = projected(model._network, lambda: model.predict(x, TIME, conditioning))
    check(maps, found, [(4, 4)] * len(found))


@pytest.mark.full
def test_sdxl_shows_its_attention_too(tmp_path):
    prompts, keys = BUILDERS["sdxl", "euler"](tmp_path / "model")
    config = ModelConfig(family="sdxl", path=str(tmp_path / "model"), device="cpu", **keys)
    model = load_model(config)
    rows = encode_prompts(config, prompts[:1] * 3)
    conditioning = {name: torch.from_numpy(of) for name, of in rows.items()}
    x = noised(model)
    with torch.no_grad():
        maps = model.attention(x, TIME, conditioning)
    found = projected(model._network, lambda: model.predict(x, TIME, conditioning))
    check(maps, found, [tuple(of_layer.shape[1:3]) for of_layer in maps])
