"""DeepFloyd IF against diffusers' own pipeline and scheduler."""

import json

import pytest
import torch

from tests.support.models import check_model, encode_prompts, load_model
from tests.support.network_calls import calls
from tests.support.tiny_models.deepfloyd_if import deepfloyd_if
from zsd_ray.config.run import ModelConfig
from zsd_ray.records.errors import UserError

PROMPTS = ["  A photo of a CAT. ", "a drawing of a dog", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "deepfloyd-if"
    deepfloyd_if(folder)
    return folder


@pytest.fixture(scope="module")
def pipe(folder):
    from diffusers import IFPipeline

    pipe = IFPipeline.from_pretrained(str(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def section(folder, **keys):
    return ModelConfig(family="deepfloyd-if", path=str(folder), device="cpu", **keys)


def conditioning_of(folder, prompts):
    encoded = encode_prompts(section(folder), prompts)
    return {name: torch.from_numpy(of) for name, of in encoded.items()}


def test_prompts_are_encoded_as_by_the_librarys_own_pipeline(folder, pipe):
    ours = conditioning_of(folder, PROMPTS)
    hidden, _ = pipe.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
    assert set(ours) == {"hidden"}  # the U-Net takes no mask
    assert ours["hidden"].shape == (3, 77, 48)
    torch.testing.assert_close(ours["hidden"], hidden, rtol=1e-4, atol=1e-5)


def test_t5_does_not_see_padding(folder, pipe):
    tokens = pipe.tokenizer(["a drawing of a dog"], return_tensors="pt").input_ids
    with torch.no_grad():
        alone = pipe.text_encoder(tokens).last_hidden_state
    ours = conditioning_of(folder, ["a drawing of a dog"])["hidden"]
    torch.testing.assert_close(ours[:, : tokens.shape[1]], alone, rtol=1e-4, atol=1e-5)


def test_the_estimate_of_eps_equals_the_librarys_own_pipeline(folder, pipe):
    """x_t by its scheduler, and what the pipeline asks of its U-Net while it draws."""
    ours, conditioning = load_model(section(folder)), conditioning_of(folder, PROMPTS)
    assert ours.parametrisation == "epsilon"
    seen = calls(
        pipe.unet,
        lambda: pipe(
            PROMPTS,
            guidance_scale=1.0,
            num_inference_steps=3,
            clean_caption=False,
            output_type="pt",
        ),
    )
    assert len(seen) == 3
    for (x_t, step), _, output in seen:
        assert output.shape[1] == 6  # a learned variance, which is dropped
        eps = ours.predict(x_t, step.float().expand(3), conditioning)
        torch.testing.assert_close(eps, output[:, :3], rtol=1e-4, atol=1e-5)


def test_x_0_is_the_pixels_and_noise_equals_the_schedulers(folder, pipe):
    ours = load_model(section(folder))
    assert (ours.image_size, ours.sample_shape) == (16, (3, 16, 16))
    images, eps = torch.rand(3, 3, 16, 16) * 2 - 1, torch.randn(3, 3, 16, 16)
    x_0 = ours.encode_images(images)
    torch.testing.assert_close(x_0, images)
    steps = torch.tensor([30, 500, 900])
    alpha, sigma = (
        torch.from_numpy(of).float()[:, None, None, None]
        for of in ours.schedule.alpha_sigma((steps.numpy() + 0.5) / 1000)
    )
    x_t = pipe.scheduler.add_noise(images, eps, steps)
    torch.testing.assert_close(alpha * x_0 + sigma * eps, x_t, rtol=1e-4, atol=1e-5)


def test_later_stages_and_other_sizes_are_refused(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "IFSuperResolutionPipeline"
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="holds a IFSuperResolutionPipeline"):
        check_model(section(tmp_path))
    with pytest.raises(UserError, match="image_size is of no use to"):
        check_model(section(folder, image_size=128))
