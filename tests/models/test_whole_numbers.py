"""Weights that are whole numbers are refused: the libraries take them for weights in silence."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.hostile import model_folders as hostile
from tests.support.models import check_model, encode_prompts, load_model
from zsd_ray.records.errors import UserError

SD = "stable-diffusion-epsilon"


def changed(path, name, change):
    tensors = load_file(path)
    tensors[name] = change(tensors[name])
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.few(4)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool])
@pytest.mark.parametrize(
    ("kind", "name", "tensor"),
    [
        (SD, "unet/diffusion_pytorch_model.safetensors", "conv_in.weight"),
        (SD, "text_encoder/model.safetensors", "final_layer_norm.bias"),
        (SD, "vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.bias"),
        ("flux-dev", "text_encoder_2/model.safetensors", "shared.weight"),
        ("clip-folder", "open_clip_model.safetensors", "visual.proj"),
        ("clip-file", "weights.safetensors", "visual.proj"),
        ("timm-folder", "model.safetensors", "conv1.0.weight"),
        ("timm-file", "weights.safetensors", "pos_embed"),
    ],
)
def test_whole_numbers_are_no_weights(kind, name, tensor, dtype, copied):
    folder, config, _ = copied(kind)
    changed(folder / name, tensor, lambda values: values.to(dtype))
    with pytest.raises(UserError, match=rf"{tensor} \((I64|I8|U8|BOOL)\)") as caught:
        check_model(config)
    said = str(caught.value)
    assert "\n" not in said
    assert name.rpartition("/")[2] in said


def test_whole_numbers_of_a_shard_are_refused(copied):
    folder, config, _ = copied(SD)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    changed(path, "conv_in.bias", torch.Tensor.long)
    hostile.shard(path)
    with pytest.raises(UserError, match=r"-of-00002\.safetensors holds whole numbers"):
        check_model(config)


def test_quantised_weights_are_whole_numbers(copied):
    folder, config, _ = copied(SD)
    changed(
        folder / "unet" / "diffusion_pytorch_model.safetensors", "conv_in.bias", torch.Tensor.long
    )
    hostile.edit(
        folder / "unet" / "config.json", quantization_config={"quant_method": "bitsandbytes"}
    )
    check_model(config)


def test_places_and_counters_may_be_whole_numbers(copied):
    folder, config, prompts = copied(SD)
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path) | {"embeddings.position_ids": torch.arange(12)[None]}
    save_file(tensors, path, metadata={"format": "pt"})
    before = encode_prompts(config, prompts)["hidden"]
    np.testing.assert_array_equal(encode_prompts(config, prompts)["hidden"], before)


@pytest.mark.parametrize("kind", ["timm-folder", "probe-folder"])
def test_models_with_counters_or_labels_load(kind, copied):
    load_model(copied(kind)[1])
