"""Stable Diffusion XL against diffusers' own pipeline and scheduler."""

import json

import pytest
import torch

from tests.support.models import check_model, encode_prompts, load_model
from tests.support.network_calls import calls
from tests.support.tiny_models.sdxl import sdxl
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.records.errors import UserError

PROMPTS = ["a photo of a cat.", "a drawing of a dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "sdxl"
    sdxl(folder)
    return folder


@pytest.fixture(scope="module")
def pipe(folder):
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(str(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def section(folder, **keys):
    return ModelConfig(family="sdxl", path=str(folder), device="cpu", **keys)


def conditioning_of(config, prompts):
    return {name: torch.from_numpy(of) for name, of in encode_prompts(config, prompts).items()}


def test_prompts_are_encoded_as_by_the_librarys_own_pipeline(folder, pipe):
    ours = conditioning_of(section(folder), [*PROMPTS, ""])
    with torch.no_grad():
        hidden, zeros, pooled, no_pool = pipe.encode_prompt(PROMPTS)
    assert ours["hidden"].shape == (3, 12, 16 + 24)
    assert ours["pooled"].shape == (3, 20)
    torch.testing.assert_close(ours["hidden"][:2], hidden)
    torch.testing.assert_close(ours["pooled"][:2], pooled)
    # "No prompt" is zeros, as the pipeline's own negative prompt is.
    torch.testing.assert_close(ours["hidden"][2:], zeros[:1])
    torch.testing.assert_close(ours["pooled"][2:], no_pool[:1])
    assert not ours["hidden"][2].any()
    assert not ours["pooled"][2].any()


def test_hidden_states_are_those_before_the_last_layer(folder, pipe):
    ours = conditioning_of(section(folder), PROMPTS)["hidden"]
    encoder = pipe.text_encoder_2
    tokens = pipe.tokenizer_2(PROMPTS, padding="max_length", max_length=12, return_tensors="pt")
    layer = encoder.text_model.encoder.layers[-2]
    with torch.no_grad():
        (call,) = calls(layer, lambda: encoder(tokens.input_ids))
    torch.testing.assert_close(ours[..., 16:], call[2])
    # The second encoder has its own tokenizer: that pads with "!".
    assert tokens.input_ids[0, -1] == pipe.tokenizer_2.convert_tokens_to_ids("!")
    assert pipe.tokenizer.pad_token_id != pipe.tokenizer_2.pad_token_id


def test_an_empty_prompt_is_encoded_where_the_model_was_trained_so(tmp_path):
    from diffusers import StableDiffusionXLPipeline

    sdxl(tmp_path / "model", force_zeros_for_empty_prompt=False)
    ours = conditioning_of(section(tmp_path / "model"), [""])
    pipe = StableDiffusionXLPipeline.from_pretrained(str(tmp_path / "model"))
    with torch.no_grad():
        _, hidden, _, pooled = pipe.encode_prompt(["a photo"])
    assert hidden.any()
    torch.testing.assert_close(ours["hidden"], hidden)
    torch.testing.assert_close(ours["pooled"], pooled)


def test_latents_are_normalised_by_channel(folder, pipe):
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    settings = pipe.vae.config
    mean, std = (
        torch.tensor(of).view(1, 4, 1, 1) for of in (settings.latents_mean, settings.latents_std)
    )
    with torch.no_grad():
        x_0 = (pipe.vae.encode(images).latent_dist.mode() - mean) * settings.scaling_factor / std
    torch.testing.assert_close(load_model(section(folder)).encode_images(images), x_0)


@pytest.mark.few(1)
@pytest.mark.parametrize("image_size", [None, 32])
def test_the_estimate_of_eps_equals_the_librarys_own_pipeline(folder, pipe, image_size):
    """x_t by Euler's scheduler, and what the pipeline asks of its U-Net while it draws."""
    config = section(folder, image_size=image_size)
    ours, conditioning = load_model(config), conditioning_of(config, PROMPTS)
    size = image_size or 16
    assert (ours.image_size, ours.sample_shape) == (size, (4, size // 2, size // 2))
    seen = calls(
        pipe.unet,
        lambda: pipe(
            PROMPTS,
            guidance_scale=1.0,
            num_inference_steps=3,
            height=size,
            width=size,
            output_type="latent",
        ),
    )
    assert len(seen) == 3
    for (x_t, step), named, output in seen:
        assert named["added_cond_kwargs"]["time_ids"][0].tolist() == [size, size, 0, 0, size, size]
        prediction = ours.predict(x_t, step.float().expand(2), conditioning)
        alpha, sigma = (
            torch.from_numpy(of).float()
            for of in ours.schedule.alpha_sigma((step[None].numpy() + 0.5) / 1000)
        )
        eps = to_epsilon(prediction, x_t, alpha, sigma, ours.parametrisation)
        torch.testing.assert_close(eps, output, rtol=1e-4, atol=1e-5)


def test_noise_equals_that_of_eulers_scheduler(folder, pipe):
    ours = load_model(section(folder))
    pipe.scheduler.set_timesteps(1000)
    x_0, eps = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    for step in (30, 500, 900):
        time = torch.tensor([float(step)])
        noised = pipe.scheduler.add_noise(x_0, eps, time)
        pipe.scheduler._step_index = None
        x_t = pipe.scheduler.scale_model_input(noised, time[0])
        alpha, sigma = ours.schedule.alpha_sigma((step + 0.5) / 1000)
        torch.testing.assert_close(
            float(alpha) * x_0 + float(sigma) * eps, x_t, rtol=1e-4, atol=1e-5
        )


def test_the_refiner_is_refused(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionXLImg2ImgPipeline"
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="holds a StableDiffusionXLImg2ImgPipeline"):
        check_model(section(tmp_path))
