"""PixArt-alpha and PixArt-Sigma against diffusers' own pipelines and scheduler."""

import json
import shutil

import pytest
import torch

from tests.support.models import encode_prompts, load_model
from tests.support.network_calls import calls
from tests.support.tiny_models.pixart import pixart
from zsd_ray.config.run import ModelConfig
from zsd_ray.records.errors import UserError

PROMPTS = ["  A photo of a CAT. ", "a drawing of a dog", ""]


@pytest.fixture(scope="module", params=["alpha", "sigma"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / kind
    pixart(folder, kind)
    return folder


@pytest.fixture(scope="module")
def pipe(folder):
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(str(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def section(folder, **keys):
    return ModelConfig(family="pixart", path=str(folder), device="cpu", **keys)


def conditioning_of(config, prompts):
    return {name: torch.from_numpy(of) for name, of in encode_prompts(config, prompts).items()}


def test_prompts_are_encoded_as_by_the_librarys_own_pipeline(kind, folder, pipe):
    ours = conditioning_of(section(folder), PROMPTS)
    with torch.no_grad():
        hidden, mask, _, _ = pipe.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
    assert ours["mask"].shape == (3, {"alpha": 120, "sigma": 300}[kind])
    assert ours["mask"].dtype == torch.int64
    assert ours["mask"].sum(dim=1).tolist() == [6, 6, 1]  # an empty prompt is its end alone
    torch.testing.assert_close(ours["mask"], mask)
    torch.testing.assert_close(ours["hidden"], hidden, rtol=1e-4, atol=1e-5)


def test_the_estimate_of_eps_equals_the_librarys_own_pipeline(kind, folder, pipe):
    """What the pipeline asks of its transformer while it draws, and what it makes of the answer."""
    ours, conditioning = load_model(section(folder)), conditioning_of(section(folder), PROMPTS)
    assert ours.image_size == {"alpha": 128, "sigma": 16}[kind]
    assert ours.parametrisation == "epsilon"
    seen = calls(
        pipe.transformer,
        lambda: pipe(
            PROMPTS,
            guidance_scale=1.0,
            num_inference_steps=3,
            clean_caption=False,
            use_resolution_binning=False,
            output_type="latent",
        ),
    )
    assert len(seen) == 3
    for (x_t,), named, output in seen:
        assert output.shape[1] == 8  # a learned variance, which is dropped
        resolution = named["added_cond_kwargs"]["resolution"]
        assert (resolution is None) == (kind == "sigma")
        assert kind == "sigma" or resolution.tolist() == [[128, 128]] * 3
        eps = ours.predict(x_t, named["timestep"].float(), conditioning)
        torch.testing.assert_close(eps, output.chunk(2, dim=1)[0], rtol=1e-4, atol=1e-5)


def test_latents_and_noise_equal_the_librarys(folder, pipe):
    ours = load_model(section(folder))
    images = torch.rand(3, 3, ours.image_size, ours.image_size) * 2 - 1
    with torch.no_grad():
        x_0 = pipe.vae.encode(images).latent_dist.mode() * pipe.vae.config.scaling_factor
    torch.testing.assert_close(ours.encode_images(images), x_0)
    pipe.scheduler.set_timesteps(1000)
    steps, eps = torch.tensor([30, 500, 900]), torch.randn(x_0.shape)
    alpha, sigma = (
        torch.from_numpy(of).float()[:, None, None, None]
        for of in ours.schedule.alpha_sigma((steps.numpy() + 0.5) / 1000)
    )
    x_t = pipe.scheduler.add_noise(x_0, eps, steps)
    torch.testing.assert_close(alpha * x_0 + sigma * eps, x_t, rtol=1e-4, atol=1e-5)


def test_the_network_does_not_see_padding(folder):
    ours, full = load_model(section(folder)), conditioning_of(section(folder), PROMPTS)
    short = conditioning_of(section(folder, max_prompt_tokens=8), PROMPTS)
    assert short["mask"].shape == (3, 8)
    x, time = torch.randn(3, *ours.sample_shape), torch.tensor([30.0, 500.0, 900.0])
    exact = ours.predict(x, time, full)
    torch.testing.assert_close(ours.predict(x, time, short), exact, rtol=1e-4, atol=1e-5)
    unmasked = {"hidden": full["hidden"], "mask": torch.ones_like(full["mask"])}
    assert (ours.predict(x, time, unmasked) - exact).abs().max() > 1e-3


def test_no_more_tokens_than_the_model_learned(kind, folder):
    longer = conditioning_of(section(folder, max_prompt_tokens=512), ["a dog"])
    assert longer["mask"].shape == (1, {"alpha": 120, "sigma": 300}[kind])


def test_another_image_size_is_told_to_the_network(kind, folder, pipe):
    large = {"alpha": 160, "sigma": 32}[kind]
    ours = load_model(section(folder, image_size=large))
    assert ours.encode_images(torch.zeros(1, 3, large, large)).shape == (1, *ours.sample_shape)
    conditioning = conditioning_of(section(folder), PROMPTS[:1])
    seen = calls(
        pipe.transformer,
        lambda: pipe(
            PROMPTS[:1],
            guidance_scale=1.0,
            num_inference_steps=2,
            height=large,
            width=large,
            clean_caption=False,
            use_resolution_binning=False,
            output_type="latent",
        ),
    )
    for (x_t,), named, output in seen:
        eps = ours.predict(x_t, named["timestep"].float(), conditioning)
        torch.testing.assert_close(eps, output[:, :4], rtol=1e-4, atol=1e-5)
    unit = {"alpha": 8, "sigma": 4}[kind]
    with pytest.raises(UserError, match=f"image_size 34 must be a multiple of {unit}"):
        load_model(section(folder, image_size=34))


def test_a_transformer_under_its_class_older_name_is_read(folder, tmp_path):
    """Published folders say Transformer2DModel, with settings that the class of today dropped."""
    older = tmp_path / "model"
    shutil.copytree(folder, older)
    path = older / "transformer" / "config.json"
    settings = json.loads(path.read_text())
    settings |= {
        "_class_name": "Transformer2DModel",
        "double_self_attention": False,
        "num_vector_embeds": None,
        "only_cross_attention": False,
        "use_linear_projection": False,
    }
    path.write_text(json.dumps(settings))
    x, time = torch.randn(1, *load_model(section(folder)).sample_shape), torch.tensor([500.0])
    conditioning = conditioning_of(section(folder), PROMPTS[:1])
    torch.testing.assert_close(
        load_model(section(older)).predict(x, time, conditioning),
        load_model(section(folder)).predict(x, time, conditioning),
    )
