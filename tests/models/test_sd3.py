"""Stable Diffusion 3 against diffusers' own pipeline and scheduler."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.support.models import check_model, encode_prompts, load_model
from tests.support.tiny_models import BUILDERS
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.models.conditioning import t5
from zsd_ray.models.families import sd3
from zsd_ray.records.errors import UserError

# The last is longer than any of the encoders takes.
PROMPTS = ["a photo of a cat.", "a drawing of a dog", " ".join(["a photo of a dog."] * 9)]
TOKENS = 10

# One prompt is longer than the text encoders of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:prompts are cut")


@pytest.fixture(scope="module", params=["t5", "without-t5"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param
    BUILDERS["sd3", request.param](folder)
    return folder


@pytest.fixture(scope="module")
def with_t5(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "sd3"
    BUILDERS["sd3", "t5"](folder)
    return folder


def config(folder, **keys):
    keys = {"max_prompt_tokens": TOKENS, "device": "cpu"} | keys
    return ModelConfig(family="sd3", path=str(folder), **keys)


def pipeline(folder):
    from diffusers import StableDiffusion3Pipeline

    # It must be told that T5 is not there.
    there = folder.joinpath("text_encoder_3").is_dir()
    absent = {} if there else {"text_encoder_3": None, "tokenizer_3": None}
    pipe = StableDiffusion3Pipeline.from_pretrained(str(folder), **absent)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def encoded(config, prompts=PROMPTS):
    return {name: torch.from_numpy(of) for name, of in encode_prompts(config, prompts).items()}


@pytest.mark.few(1)
def test_sd3_equals_the_librarys_own_pipeline(folder):
    """Latents, both kinds of conditioning, x_t and the estimate of eps."""
    ours, pipe = load_model(config(folder)), pipeline(folder)
    torch.manual_seed(0)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        vae = pipe.vae.config
        mean = pipe.vae.encode(images).latent_dist.mode()
        x_0 = (mean - vae.shift_factor) * vae.scaling_factor
        prompt, _, pooled, _ = pipe.encode_prompt(
            *[PROMPTS] * 3,
            device="cpu",
            do_classifier_free_guidance=False,
            max_sequence_length=TOKENS,
        )
        times = pipe.scheduler.timesteps[[50, 500, 950]]
        eps = torch.randn(x_0.shape)
        x_t = pipe.scheduler.scale_noise(x_0, times, eps)
        velocity = pipe.transformer(
            hidden_states=x_t,
            timestep=times,
            encoder_hidden_states=prompt,
            pooled_projections=pooled,
        ).sample
    torch.testing.assert_close(ours.encode_images(images), x_0)
    assert ours.sample_shape == x_0.shape[1:]
    conditioning = encoded(config(folder))
    torch.testing.assert_close(conditioning["pooled"], pooled, rtol=1e-4, atol=1e-5)
    text = ours._text(conditioning, torch.float32)
    torch.testing.assert_close(text, prompt, rtol=1e-4, atol=1e-5)

    t = times.double().numpy() / 1000
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in ours.schedule.alpha_sigma(t)
    )
    torch.testing.assert_close(alpha * x_0 + sigma * eps, x_t, rtol=1e-4, atol=1e-5)
    model_time = torch.from_numpy(ours.schedule.model_time(t)).float()
    torch.testing.assert_close(model_time, times)
    output = ours.predict(x_t, model_time, conditioning)
    torch.testing.assert_close(output, velocity, rtol=1e-4, atol=1e-5)
    estimate_of_x_0 = x_t - sigma * velocity  # the scheduler's step to sigma 0
    theirs = (x_t - (1 - sigma) * estimate_of_x_0) / sigma
    ours_eps = to_epsilon(output, x_t, alpha, sigma, ours.parametrisation)
    torch.testing.assert_close(ours_eps, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.few(1)
def test_sd3_draws_what_the_pipeline_draws(folder):
    """The pipeline's own call, three steps, against the same steps with our `predict`."""
    ours, pipe = load_model(config(folder)), pipeline(folder)
    x = noise = torch.randn(3, *ours.sample_shape, generator=torch.Generator().manual_seed(1))
    theirs = pipe(
        PROMPTS,
        latents=noise,
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
    torch.testing.assert_close(x, theirs, rtol=1e-4, atol=1e-4)


def test_without_t5_its_tokens_are_zeros_that_take_no_memory(folder):
    conditioning = encoded(config(folder))
    assert ("t5" in conditioning) == folder.joinpath("text_encoder_3").is_dir()
    text = load_model(config(folder))._text(conditioning, torch.float32)
    assert text.shape == (3, 12 + TOKENS, 48)
    assert (text[:, :12, 40:] == 0).all()
    assert (text[:, :12, :40] != 0).any()
    assert (text[:, 12:] != 0).any() == ("t5" in conditioning)


def test_t5_has_256_tokens_unless_the_configuration_says_otherwise(with_t5):
    assert encode_prompts(config(with_t5, max_prompt_tokens=None), ["a"])["t5"].shape[1] == 256
    assert encode_prompts(config(with_t5), ["a"])["t5"].shape[1] == TOKENS


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_t5_out_of_float16(with_t5, monkeypatch, dtype):
    asked = []
    load = t5.load_text_encoder
    monkeypatch.setattr(t5, "load_text_encoder", lambda *a: (asked.append(a[-1]), load(*a))[1])
    rows = encode_prompts(config(with_t5, dtype=dtype), PROMPTS)
    assert asked == [torch.bfloat16]
    assert {of.dtype for of in rows.values()} == {np.dtype("float16")}
    exact = encode_prompts(config(with_t5), PROMPTS)
    assert asked[1:] == [torch.float32]
    for name, of in rows.items():
        assert np.abs(of - exact[name]).max() < 0.05 * np.abs(exact[name]).max()


T5_PARTS = ("text_encoder_3", "tokenizer_3")


def without(folder, target, parts, **index):
    shutil.copytree(folder, target)
    for part in parts:
        shutil.rmtree(target / part)
    path = target / "model_index.json"
    content = json.loads(path.read_text()) | index
    path.write_text(json.dumps({k: v for k, v in content.items() if v != "absent"}))
    return target


def test_half_of_t5_is_refused(with_t5, tmp_path):
    half = without(with_t5, tmp_path / "half", ["tokenizer_3"], tokenizer_3=[None, None])
    with pytest.raises(UserError, match="only one of text_encoder_3 and tokenizer_3"):
        encode_prompts(config(half), PROMPTS)


@pytest.mark.parametrize(
    ("parts", "index", "named"),
    [
        (T5_PARTS, {}, "text_encoder_3, tokenizer_3"),
        (T5_PARTS[1:], {}, "tokenizer_3"),
        (T5_PARTS[:1], {}, "text_encoder_3"),
        (T5_PARTS, {"tokenizer_3": [None, None]}, "text_encoder_3"),
    ],
)
def test_parts_that_the_index_names_are_there(parts, index, named, with_t5, tmp_path):
    target = without(with_t5, tmp_path / "without", parts, **index)
    with pytest.raises(UserError) as caught:
        check_model(config(target))
    said = str(caught.value)
    assert f"model_index.json names {named}, and model.path" in said
    assert "set each to [null, null] to go without" in said
    assert "\n" not in said


@pytest.mark.parametrize("value", [[None, None], None, "absent"])
def test_t5_may_be_left_out(value, with_t5, tmp_path):
    target = without(
        with_t5, tmp_path / "without", T5_PARTS, text_encoder_3=value, tokenizer_3=value
    )
    conditioning = encoded(config(target))
    assert set(conditioning) == {"clip", "pooled"}
    x = torch.zeros(3, 4, 8, 8)
    assert load_model(config(target)).predict(x, torch.full((3,), 500.0), conditioning).shape


def test_other_image_sizes_must_fit_patches_and_positions(with_t5):
    assert load_model(config(with_t5)).image_size == 16
    large = load_model(config(with_t5, image_size=24))
    assert large.sample_shape == (4, 12, 12)
    x = large.encode_images(torch.zeros(1, 3, 24, 24))
    conditioning = encoded(config(with_t5), ["a dog"])
    assert large.predict(x, torch.tensor([500.0]), conditioning).shape == x.shape
    with pytest.raises(UserError, match="image_size 18 must be a multiple of 4"):
        load_model(config(with_t5, image_size=18))
    with pytest.raises(UserError, match="image_size 28 is above this model's 24"):
        load_model(config(with_t5, image_size=28))


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_a_scheduler_of_another_kind_is_refused(family, tmp_path):
    folder = tmp_path / "model"
    BUILDERS[family, {"sd3": "t5", "flux": "dev"}[family]](folder)
    model = ModelConfig(family=family, path=str(folder))
    assert check_model(model) == folder
    index = folder / "model_index.json"
    content = json.loads(index.read_text()) | {"scheduler": ["diffusers", "DDPMScheduler"]}
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match="DDPMScheduler as its scheduler") as caught:
        check_model(model)
    assert "\n" not in str(caught.value)
    assert "FlowMatchEulerDiscreteScheduler" in str(caught.value)


def test_only_families_with_t5_take_max_prompt_tokens(with_t5):
    with pytest.raises(UserError, match=r"model.max_prompt_tokens is of no use to"):
        check_model(ModelConfig(max_prompt_tokens=64))
    assert sd3._T5_TOKENS == 256
