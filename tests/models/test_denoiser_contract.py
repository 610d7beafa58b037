"""Every family's adapter keeps the convention, and computes what the library's own parts do."""

import json
import shutil

import numpy as np
import pytest
import torch

from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.models.registry import FAMILIES, check_model, load_model
from zsd_ray.models.stable_diffusion import Components, StableDiffusion
from zsd_ray.spec.config import ModelConfig
from zsd_ray.spec.errors import UserError

PROMPTS = ["a photo of a cat.", "a drawing of a dog", ""]


@pytest.fixture(scope="session", params=["epsilon", "v_prediction"])
def folder(request, tiny_model, tmp_path_factory):
    """A tiny model of each parametrisation: Stable Diffusion 1.x, and 2.x at 768."""
    folder = tmp_path_factory.mktemp("model") / request.param
    shutil.copytree(tiny_model, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text()) | {"prediction_type": request.param}
    path.write_text(json.dumps(config))
    return folder


@pytest.fixture(params=sorted(FAMILIES))
def denoiser(request, folder):
    return load_model(ModelConfig(family=request.param, path=str(folder), device="cpu"))


def inputs(denoiser, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *denoiser.sample_shape, generator=generator)
    t = denoiser.schedule.snap(np.linspace(0.05, 0.95, n))
    time = torch.from_numpy(denoiser.schedule.model_time(t)).float()
    conditioning = torch.from_numpy(denoiser.encode_prompts(PROMPTS))
    return x, time, conditioning[torch.arange(n) % len(PROMPTS)]


def test_declares_its_shapes_and_keeps_them(denoiser):
    images = torch.rand(2, 3, denoiser.image_size, denoiser.image_size) * 2 - 1
    x = denoiser.encode_images(images)
    assert x.shape == (2, *denoiser.sample_shape)
    assert x.dtype == torch.float32
    conditioning = denoiser.encode_prompts(PROMPTS)
    assert conditioning.shape[0] == 3
    assert conditioning.dtype == np.float32
    output = denoiser.predict(*inputs(denoiser, 5))
    assert output.shape == (5, *denoiser.sample_shape)
    assert output.dtype == torch.float32
    assert not output.requires_grad


def test_many_prompts_are_encoded_as_each_alone(denoiser):
    prompts = [f"a photo of a {i}" for i in range(70)]
    together = denoiser.encode_prompts(prompts)
    alone = np.concatenate([denoiser.encode_prompts([prompt]) for prompt in prompts[60:]])
    np.testing.assert_allclose(together[60:], alone, rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_equals_a_batch_of_many(denoiser):
    x, time, conditioning = inputs(denoiser, 7)
    together = denoiser.predict(x, time, conditioning)
    for row in range(7):
        rows = slice(row, row + 1)
        alone = denoiser.predict(x[rows], time[rows], conditioning[rows])
        torch.testing.assert_close(together[rows], alone, rtol=1e-4, atol=1e-5)


def test_conditioning_matters(denoiser):
    x, time, conditioning = inputs(denoiser, 2)
    one = denoiser.predict(x, time, conditioning[[0, 0]])
    other = denoiser.predict(x, time, conditioning[[1, 1]])
    assert (one - other).abs().max() > 1e-6


def test_bfloat16_follows_float32(folder):
    exact = load_model(ModelConfig(path=str(folder), device="cpu"))
    fast = load_model(ModelConfig(path=str(folder), device="cpu", dtype="bfloat16"))
    arguments = inputs(exact, 4)
    difference = (exact.predict(*arguments) - fast.predict(*arguments)).abs().max()
    assert 0 < difference < 0.1


def test_stable_diffusion_equals_the_librarys_own_pipeline(folder):
    """Latents, conditioning and the estimate of eps, by diffusers' pipeline and scheduler."""
    from diffusers import StableDiffusionPipeline

    ours = load_model(ModelConfig(path=str(folder), device="cpu"))
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
    torch.testing.assert_close(torch.from_numpy(ours.encode_prompts(PROMPTS)), prompt)
    t = (steps.numpy() + 0.5) / 1000
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in ours.schedule.alpha_sigma(t)
    )
    our_x_t = alpha * x_0 + sigma * eps
    torch.testing.assert_close(our_x_t, x_t, rtol=1e-4, atol=1e-5)
    time = torch.from_numpy(ours.schedule.model_time(t)).float()
    ours_eps = to_epsilon(
        ours.predict(our_x_t, time, prompt), our_x_t, alpha, sigma, ours.parametrisation
    )
    theirs = output
    if pipe.scheduler.config.prediction_type == "v_prediction":
        abar = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
        theirs = abar.sqrt() * output + (1 - abar).sqrt() * x_t
    torch.testing.assert_close(ours_eps, theirs, rtol=1e-4, atol=1e-4)


def test_a_saved_model_loads_with_the_same_numbers(tiny_components, tmp_path):
    tiny_components.save(tmp_path / "again", torch.float32)
    again = Components.load(tmp_path / "again", torch.float32)
    device = torch.device("cpu")
    one, two = StableDiffusion(tiny_components, device), StableDiffusion(again, device)
    arguments = inputs(one, 3)
    torch.testing.assert_close(one.predict(*arguments), two.predict(*arguments))
    assert not list((tmp_path / "again").rglob("*.bin"))
    assert list((tmp_path / "again").rglob("*.safetensors"))


# ---- folders that are not models


def broken(tiny_model, tmp_path):
    target = tmp_path / "broken"
    shutil.copytree(tiny_model, target)
    return target


def check(path):
    with pytest.raises(UserError) as caught:
        check_model(ModelConfig(path=str(path)))
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
