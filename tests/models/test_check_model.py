"""Folders that are no models, or another one's, are refused in one line before anything starts."""

import json
import shutil

import pytest
import torch

from tests.support.models import check_model, load_model
from zsd_ray.config.run import ModelConfig
from zsd_ray.models import registry
from zsd_ray.records.errors import UserError


def broken(tiny_model, tmp_path):
    target = tmp_path / "broken"
    shutil.copytree(tiny_model, target)
    return target


def check(path, **keys):
    with pytest.raises(UserError) as caught:
        check_model(ModelConfig(path=str(path), **keys))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    assert "is not a folder" in check(tmp_path / "absent")


def test_an_unknown_built_in_model_lists_those_there_are():
    assert "builtin:digits" in check("builtin:digts")
    assert "builtin:digits" in check("builtin:../../etc")


def test_a_folder_without_an_index_is_named(tmp_path):
    assert "model_index.json" in check(tmp_path)


def test_a_missing_part_is_named(tiny_model, tmp_path):
    folder = broken(tiny_model, tmp_path)
    shutil.rmtree(folder / "unet")
    assert "lacks the folders unet" in check(folder)


def test_weights_that_are_not_safetensors_are_refused(tiny_model, tmp_path):
    folder = broken(tiny_model, tmp_path)
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    assert "no .safetensors file" in check(folder)
    check_model(ModelConfig(path=str(folder), pickle=True))


def edit(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_a_pipeline_of_another_family_is_refused(tiny_model, tmp_path):
    folder = broken(tiny_model, tmp_path)
    edit(folder / "model_index.json", _class_name="StableDiffusionXLPipeline")
    assert "holds a StableDiffusionXLPipeline" in check(folder)


def test_a_schedule_that_would_be_read_wrongly_is_refused(tiny_model, tmp_path):
    folder = broken(tiny_model, tmp_path)
    edit(folder / "scheduler" / "scheduler_config.json", beta_schedule=None)
    assert "beta_schedule" in check(folder)
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="flow_prediction")
    assert "flow_prediction" in check(folder)


def test_cuda_without_a_gpu_is_a_user_error(tiny_model):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="no CUDA device"):
        load_model(ModelConfig(path=str(tiny_model), device="cuda"))


def test_the_built_in_model_is_small_and_safe():
    folder = check_model(ModelConfig(path="builtin:digits"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}


def test_a_hub_name_that_cannot_be_had_is_a_user_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "the hub does not give it" in check("nobody/no-such-model")


def test_keys_of_other_families_and_places_are_refused(tiny_model):
    assert "model.labels is of no use to" in check(tiny_model, labels=["a", "b"])
    assert "model.revision is of a model on the hub" in check(tiny_model, revision="main")


def test_a_variant_that_is_not_there_is_named(tiny_model):
    assert "no .fp16.safetensors file" in check(tiny_model, variant="fp16")


def test_an_image_size_without_whole_latents_is_refused(tiny_model):
    assert "model.image_size 33 must be a multiple of 2" in check(tiny_model, image_size=33)


@pytest.mark.parametrize(
    ("dtype", "native", "said"), [("bfloat16", False, 1), ("bfloat16", True, 0), ("float16", 0, 0)]
)
def test_a_gpu_that_imitates_bfloat16_is_said(dtype, native, said, monkeypatch, recwarn):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    registry._say_slow(torch.device("cuda"), ModelConfig(dtype=dtype))
    expected = "Tesla T4 has no bfloat16 of its own, which is slow there; model.dtype: float16 is"
    assert [str(each.message).startswith(expected) for each in recwarn] == [True] * said
