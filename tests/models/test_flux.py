"""FLUX.1 against diffusers' own pipeline and scheduler."""

from itertools import pairwise

import pytest
import torch

from tests.support.models import encode_prompts, load_model
from tests.support.tiny_models import BUILDERS
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.models.families.flux import pack, unpack
from zsd_ray.records.errors import UserError

# The last is longer than any of the encoders takes.
PROMPTS = ["a photo of a cat.", "a drawing of a dog", " ".join(["a photo of a dog."] * 9)]
TOKENS = 10
SIDE = 8

# One prompt is longer than the text encoders of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:prompts are cut")


@pytest.fixture(scope="module", params=["dev", "schnell"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param
    BUILDERS["flux", request.param](folder)
    return folder


def config(folder, **keys):
    keys = {"max_prompt_tokens": TOKENS, "image_size": 16, "device": "cpu"} | keys
    return ModelConfig(family="flux", path=str(folder), **keys)


def pipeline(folder):
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(str(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def encoded(config, prompts=PROMPTS):
    return {name: torch.from_numpy(of) for name, of in encode_prompts(config, prompts).items()}


def packed(pipe, x):
    return pipe._pack_latents(x, len(x), 4, SIDE, SIDE)


def velocity(pipe, x_t, times, text, pooled, text_ids, guidance):
    """The transformer called as `FluxPipeline.__call__` calls it, in the shape of latents."""
    guided = pipe.transformer.config.guidance_embeds
    output = pipe.transformer(
        hidden_states=packed(pipe, x_t),
        timestep=times / 1000,
        guidance=torch.full([len(x_t)], guidance) if guided else None,
        pooled_projections=pooled,
        encoder_hidden_states=text,
        txt_ids=text_ids,
        img_ids=pipe._prepare_latent_image_ids(1, SIDE // 2, SIDE // 2, "cpu", torch.float32),
    ).sample
    return pipe._unpack_latents(output, 16, 16, pipe.vae_scale_factor)


@pytest.mark.few(1)
def test_flux_equals_the_librarys_own_pipeline(folder):
    """Latents, both kinds of conditioning, x_t and the estimate of eps."""
    ours, pipe = load_model(config(folder)), pipeline(folder)
    torch.manual_seed(0)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        vae = pipe.vae.config
        mean = pipe.vae.encode(images).latent_dist.mode()
        x_0 = (mean - vae.shift_factor) * vae.scaling_factor
        text, pooled, text_ids = pipe.encode_prompt(
            PROMPTS, device="cpu", max_sequence_length=TOKENS
        )
        times = pipe.scheduler.timesteps[[50, 500, 950]]
        eps = torch.randn(x_0.shape)
        x_t = pipe.scheduler.scale_noise(x_0, times, eps)
        theirs = velocity(pipe, x_t, times, text, pooled, text_ids, guidance=1.0)
        sampling = velocity(pipe, x_t, times, text, pooled, text_ids, guidance=3.5)
    torch.testing.assert_close(ours.encode_images(images), x_0)
    assert ours.sample_shape == x_0.shape[1:] == (4, SIDE, SIDE)
    conditioning = encoded(config(folder))
    torch.testing.assert_close(conditioning["t5"], text, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(conditioning["pooled"], pooled, rtol=1e-4, atol=1e-5)

    t = times.double().numpy() / 1000
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in ours.schedule.alpha_sigma(t)
    )
    torch.testing.assert_close(alpha * x_0 + sigma * eps, x_t, rtol=1e-4, atol=1e-5)
    model_time = torch.from_numpy(ours.schedule.model_time(t)).float()
    torch.testing.assert_close(model_time, times / 1000)
    output = ours.predict(x_t, model_time, conditioning)
    torch.testing.assert_close(output, theirs, rtol=1e-4, atol=1e-5)
    guided = pipe.transformer.config.guidance_embeds
    assert ((output - sampling).abs().max() > 1e-3) == guided
    estimate_of_x_0 = x_t - sigma * theirs  # the scheduler's step to sigma 0
    theirs_eps = (x_t - (1 - sigma) * estimate_of_x_0) / sigma
    ours_eps = to_epsilon(output, x_t, alpha, sigma, ours.parametrisation)
    torch.testing.assert_close(ours_eps, theirs_eps, rtol=1e-4, atol=1e-4)


@pytest.mark.few(1)
def test_flux_draws_what_the_pipeline_draws(folder):
    """The pipeline's own call, three steps, against the same steps with our `predict`."""
    ours, pipe = load_model(config(folder)), pipeline(folder)
    x = noise = torch.randn(3, *ours.sample_shape, generator=torch.Generator().manual_seed(1))
    theirs = pipe(
        PROMPTS,
        latents=packed(pipe, noise),
        num_inference_steps=3,
        guidance_scale=1.0,
        height=16,
        width=16,
        max_sequence_length=TOKENS,
        output_type="latent",
    ).images
    conditioning = encoded(config(folder))
    sigmas = pipe.scheduler.sigmas
    for sigma, following in pairwise(sigmas):
        time = ours.schedule.model_time(sigma.expand(3).double().numpy())
        output = ours.predict(x, torch.from_numpy(time).float(), conditioning)
        x = x + (following - sigma) * output
    torch.testing.assert_close(packed(pipe, x), theirs, rtol=1e-4, atol=1e-4)


def test_packing_is_the_pipelines_and_is_undone(folder):
    x = torch.randn(2, 4, SIDE, SIDE)
    assert torch.equal(pack(x), packed(pipeline(folder), x))
    assert torch.equal(unpack(pack(x), SIDE), x)


def test_dev_has_512_tokens_and_schnell_256_unless_the_configuration_says_otherwise(folder):
    by_default = {"dev": 512, "schnell": 256}[folder.name]
    shape = encode_prompts(config(folder, max_prompt_tokens=None), ["a"])["t5"].shape
    assert shape == (1, by_default, 48)
    assert encode_prompts(config(folder), ["a"])["t5"].shape[1] == TOKENS


@pytest.mark.few(1)
def test_images_have_the_pipelines_size_unless_the_configuration_says_otherwise(folder):
    pipe = pipeline(folder)
    size = load_model(config(folder, image_size=None)).image_size
    assert size == pipe.default_sample_size * pipe.vae_scale_factor
    large = load_model(config(folder, image_size=24))
    assert large.sample_shape == (4, 12, 12)
    x = large.encode_images(torch.zeros(1, 3, 24, 24))
    conditioning = encoded(config(folder), ["a dog"])
    assert large.predict(x, torch.tensor([0.5]), conditioning).shape == x.shape
    with pytest.raises(UserError, match="image_size 18 must be a multiple of 4"):
        load_model(config(folder, image_size=18))
