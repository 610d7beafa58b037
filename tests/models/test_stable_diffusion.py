"""Stable Diffusion against diffusers' own pipeline and scheduler."""

import pytest
import torch

from tests.support.models import encode_prompts, load_model
from tests.support.tiny_models import stable_diffusion
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.records.errors import UserError

PROMPTS = ["a photo of a cat.", "a drawing of a dog", ""]


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param
    stable_diffusion(folder, request.param)
    return folder


@pytest.mark.few(1)
def test_stable_diffusion_equals_the_librarys_own_pipeline(folder):
    """Latents, conditioning and the estimate of eps, by diffusers' pipeline and scheduler."""
    from diffusers import StableDiffusionPipeline

    config = ModelConfig(path=str(folder), device="cpu")
    ours = load_model(config)
    pipe = StableDiffusionPipeline.from_pretrained(str(folder), safety_checker=None)
    torch.manual_seed(0)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        x_0 = pipe.vae.encode(images).latent_dist.mode() * pipe.vae.config.scaling_factor
        prompt, _ = pipe.encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=False)
        steps = torch.tensor([30, 500, 900])
        eps = torch.randn(x_0.shape)
        x_t = pipe.scheduler.add_noise(x_0, eps, steps)
        output = pipe.unet(x_t, steps, encoder_hidden_states=prompt).sample
    torch.testing.assert_close(ours.encode_images(images), x_0)
    conditioning = {"hidden": torch.from_numpy(encode_prompts(config, PROMPTS)["hidden"])}
    torch.testing.assert_close(conditioning["hidden"], prompt)
    t = (steps.numpy() + 0.5) / 1000
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in ours.schedule.alpha_sigma(t)
    )
    our_x_t = alpha * x_0 + sigma * eps
    torch.testing.assert_close(our_x_t, x_t, rtol=1e-4, atol=1e-5)
    time = torch.from_numpy(ours.schedule.model_time(t)).float()
    ours_eps = to_epsilon(
        ours.predict(our_x_t, time, conditioning), our_x_t, alpha, sigma, ours.parametrisation
    )
    theirs = output
    if pipe.scheduler.config.prediction_type == "v_prediction":
        abar = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
        theirs = abar.sqrt() * output + (1 - abar).sqrt() * x_t
    torch.testing.assert_close(ours_eps, theirs, rtol=1e-4, atol=1e-4)


def test_another_image_size_changes_the_latents_only(folder):
    config = ModelConfig(path=str(folder), device="cpu", image_size=32)
    large = load_model(config)
    assert (large.image_size, large.sample_shape) == (32, (4, 16, 16))
    x = large.encode_images(torch.zeros(1, 3, 32, 32))
    assert x.shape == (1, *large.sample_shape)
    time = torch.tensor([500.0])
    conditioning = {"hidden": torch.from_numpy(encode_prompts(config, ["a dog"])["hidden"])}
    assert large.predict(x, time, conditioning).shape == x.shape
    with pytest.raises(UserError, match="image_size 33 must be a multiple of 2"):
        load_model(ModelConfig(path=str(folder), device="cpu", image_size=33))


def test_a_prompt_that_is_cut_is_said(folder):
    config = ModelConfig(path=str(folder), device="cpu")
    long = "a photo of a cat and a dog and " * 5
    with pytest.warns(UserWarning, match="cut to the 12 tokens of this text encoder: a photo of a"):
        encode_prompts(config, ["a dog", long])
