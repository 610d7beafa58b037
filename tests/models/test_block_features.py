"""What blocks return, against hooks set by hand, on a tiny model of every family that shows it."""

import numpy as np
import pytest
import torch

from tests.support.models import encode_prompts, load_model
from tests.support.tiny_models import BUILDERS, ddpm
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.features.block_names import block_names

N_ROWS = 3
UNET = ["down.0", "down.1", "mid", "up.0", "up.1"]
LAYERS = ["layer.0", "layer.1"]
TRANSFORMERS = ("dit", "sd3", "flux", "pixart")
ABLE = {name: kind for name, kind in BUILDERS if "features" in FAMILIES[name].abilities}


def load(folder, family, prompts, keys):
    config = ModelConfig(family=family, path=str(folder), device="cpu", **keys)
    rows = encode_prompts(config, prompts) if prompts else {}
    numbers = np.arange(N_ROWS) % max(1, len(prompts))
    return load_model(config), {name: torch.from_numpy(of[numbers]) for name, of in rows.items()}


def inputs(model):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N_ROWS, *model.sample_shape, generator=generator)
    t = model.schedule.snap(np.linspace(0.1, 0.9, N_ROWS))
    return x, torch.from_numpy(model.schedule.model_time(t)).float()


@pytest.fixture(scope="module", params=sorted(ABLE.items()), ids="-".join)
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param[0]
    prompts, keys = BUILDERS[request.param](folder)
    return request.param[0], *load(folder, request.param[0], prompts, keys), block_names(folder)


def network_of(model):
    return model._network


def by_hand(model, family, forward):
    """The same with plain hooks and indices, a row and a token at a time."""
    network = network_of(model)
    if family in TRANSFORMERS:
        blocks = [*network.transformer_blocks, *getattr(network, "single_transformer_blocks", [])]
        names = [f"layer.{n}" for n in range(len(blocks))]
    else:
        blocks = [*network.down_blocks, network.mid_block, *network.up_blocks]
        names = UNET
    raw = []
    hooks = [
        block.register_forward_hook(lambda module, inputs, output: raw.append(output))
        for block in blocks
    ]
    with torch.no_grad():
        forward()
    for hook in hooks:
        hook.remove()
    found = {}
    for name, output in zip(names, raw, strict=True):
        if family in ("sd3", "flux"):
            output = output[1]  # behind the text
        elif name.startswith("down"):
            output = output[0]  # before the skip connections
        output = output.float().clone()
        if name.startswith("layer"):
            side = round(output.shape[1] ** 0.5)
            square = torch.zeros(len(output), output.shape[2], side, side)
            for token in range(side * side):
                square[:, :, token // side, token % side] = output[:, token]
            output = square
        found[name] = output
    return found


@pytest.mark.few(2)
def test_features_are_what_the_blocks_return(loaded):
    family, model, conditioning, names = loaded
    x, time = inputs(model)
    with torch.no_grad():
        found = model.features(x, time, conditioning)
    expected = by_hand(model, family, lambda: model.predict(x, time, conditioning))
    assert list(found) == list(expected) == names
    assert list(found) == (LAYERS if family in TRANSFORMERS else UNET)
    for name, of_block in found.items():
        assert of_block.dtype == torch.float32
        assert of_block.ndim == 4
        assert len(of_block) == N_ROWS
        assert torch.equal(of_block, expected[name])
        assert not torch.allclose(of_block[0], of_block[1], atol=1e-6)  # rows differ
    assert not any(module._forward_hooks for module in network_of(model).modules())


def test_a_unet_halves_and_doubles(loaded):
    family, model, conditioning, _ = loaded
    x, time = inputs(model)
    with torch.no_grad():
        sizes = [of.shape[2] for of in model.features(x, time, conditioning).values()]
    size = model.sample_shape[1]
    if family not in TRANSFORMERS:
        # A block halves as it ends, or doubles; the last of each way does neither.
        assert sizes == [size // 2, size // 2, size // 2, size, size]
    else:
        patch = network_of(model).config.patch_size
        assert sizes == [size // (2 if family == "flux" else patch)] * len(sizes)


def test_an_unconditional_model_needs_no_conditioning(tmp_path):
    ddpm(tmp_path / "model", num_class_embeds=None)
    model, _ = load(tmp_path / "model", "ddpm", [], {})
    x, time = inputs(model)
    with torch.no_grad():
        found = model.features(x, time, {})
    expected = by_hand(model, "ddpm", lambda: model.predict(x, time, {}))
    assert list(found) == UNET
    assert all(torch.equal(found[name], expected[name]) for name in UNET)


def test_features_of_half_precision_are_float32(tmp_path):
    prompts, keys = BUILDERS["dit", "imagenet"](tmp_path / "dit")
    model, conditioning = load(tmp_path / "dit", "dit", prompts, {**keys, "dtype": "bfloat16"})
    with torch.no_grad():
        found = model.features(*inputs(model), conditioning)
    assert {of.dtype for of in found.values()} == {torch.float32}


def test_hooks_go_even_when_a_forward_fails(tmp_path):
    ddpm(tmp_path / "model", num_class_embeds=None)
    model, _ = load(tmp_path / "model", "ddpm", [], {})
    x, time = inputs(model)
    with pytest.raises(RuntimeError):
        model.features(x[:, :1], time, {})
    assert not any(module._forward_hooks for module in network_of(model).modules())
