"""diffusers' schedulers as samplers, against the library's own networks and pipelines."""

import json

import pytest
import torch

from tests.support.models import check_model, encode_prompts, load_model
from tests.support.tiny_models import BUILDERS, ddpm
from zsd_ray.config.run import ModelConfig
from zsd_ray.config.sampler import SamplerConfig
from zsd_ray.models.library_sampler import LibrarySampler
from zsd_ray.models.registry import resolve_model
from zsd_ray.models.samplers import OF_CHAINS, check_sampler
from zsd_ray.records.errors import UserError


def test_the_table_is_the_librarys():
    from diffusers.schedulers import KarrasDiffusionSchedulers

    ours = {*OF_CHAINS, "EDMEulerScheduler", "DPMSolverSDEScheduler"}
    assert ours == {each.name for each in KarrasDiffusionSchedulers}


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampler") / "ddpm"
    _, section = ddpm(folder, learned_variance=True)
    return ModelConfig(family="ddpm", path=str(folder), device="cpu", **section)


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def predictor(denoiser, conditioning):
    rows = {name: torch.from_numpy(array) for name, array in conditioning.items()}
    return torch.inference_mode()(lambda x, time: denoiser.predict(x, time, rows))


@pytest.mark.few(2)
@pytest.mark.parametrize("name", OF_CHAINS)
def test_a_chains_samplers_walk_as_in_a_plain_loop(grey, name):
    import diffusers

    denoiser = load_model(grey)
    predict = predictor(denoiser, encode_prompts(grey, ["two", "zero"]))
    noise = normal(2, 3, 16, 16)
    ours = LibrarySampler(resolve_model(grey), denoiser, name, 5).sample(predict, noise, [11, 12])

    scheduler = getattr(diffusers, name).from_pretrained(grey.path, subfolder="scheduler")
    unet = diffusers.UNet2DModel.from_pretrained(grey.path, subfolder="unet")
    scheduler.set_timesteps(5)
    generators = [torch.Generator().manual_seed(seed) for seed in (11, 12)]
    random = {"generator": generators} if name in RANDOM else {}
    x = noise * scheduler.init_noise_sigma
    for step in scheduler.timesteps:
        with torch.no_grad():
            output = unet(scheduler.scale_model_input(x, step), step, torch.tensor([2, 0])).sample
        x = scheduler.step(output[:, :3], step, x, **random).prev_sample
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


RANDOM = ("DDPMScheduler", "EulerAncestralDiscreteScheduler", "KDPM2AncestralDiscreteScheduler")


@pytest.mark.parametrize("name", ["DDPMScheduler", "DPMSolverMultistepScheduler"])
def test_a_row_does_not_depend_on_the_noise_of_others(grey, name):
    denoiser = load_model(grey)
    sampler, noise = LibrarySampler(resolve_model(grey), denoiser, name, 3), normal(2, 3, 16, 16)
    both = predictor(denoiser, encode_prompts(grey, ["two", "zero"]))
    one = predictor(denoiser, encode_prompts(grey, ["zero"]))
    together = sampler.sample(both, noise, [11, 12])
    torch.testing.assert_close(together[1:], sampler.sample(one, noise[1:], [12]))


@pytest.mark.parametrize(("family", "kind"), [("flux", "schnell"), ("sd3", "without-t5")])
def test_a_flows_sampler_is_the_librarys_pipeline(tmp_path, family, kind):
    import diffusers

    from zsd_ray.models.families.flux import pack, unpack

    prompts, section = BUILDERS[family, kind](tmp_path / "model")
    path = str(tmp_path / "model")
    if family == "flux":  # as its published folders have it
        settings = tmp_path / "model" / "scheduler" / "scheduler_config.json"
        shifting = json.loads(settings.read_text()) | {"use_dynamic_shifting": True}
        settings.write_text(json.dumps(shifting))
    config = ModelConfig(family=family, path=path, device="cpu", **section)
    denoiser = load_model(config)
    noise = normal(1, *denoiser.sample_shape)
    predict = predictor(denoiser, encode_prompts(config, prompts[:1]))
    sampler = LibrarySampler(resolve_model(config), denoiser, "FlowMatchEulerDiscreteScheduler", 4)
    ours = sampler.sample(predict, noise, [0])

    absent = {} if family == "flux" else {"text_encoder_3": None, "tokenizer_3": None}
    pipe = diffusers.DiffusionPipeline.from_pretrained(path, **absent)
    pipe.set_progress_bar_config(disable=True)
    size = denoiser.image_size
    keys = {"num_inference_steps": 4, "height": size, "width": size, "output_type": "latent"}
    length = config.max_prompt_tokens or 256
    latents = pack(noise) if family == "flux" else noise
    theirs = pipe(
        prompts[0], guidance_scale=1.0, latents=latents, max_sequence_length=length, **keys
    ).images
    theirs = unpack(theirs, noise.shape[-1]) if family == "flux" else theirs
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def refused(config, **sampler):
    with pytest.raises(UserError) as caught:
        check_sampler(config, check_model(config), SamplerConfig(**sampler))
    return str(caught.value)


def test_samplers_that_do_not_fit_are_refused(grey, tmp_path):
    assert "more than the 1000 steps" in refused(grey, name="ddpm", steps=1001)
    text = refused(grey, name="DPMSolverMultistep")
    assert "did you mean 'DPMSolverMultistepScheduler'?" in text
    assert "allowed: ddim, ddpm, DDIMScheduler" in text
    _, section = BUILDERS["edm", "v"](tmp_path / "edm")
    edm = ModelConfig(family="edm", path=str(tmp_path / "edm"), **section)
    assert "family edm; allowed: ddim, ddpm" in refused(edm, name="EDMEulerScheduler")
    _, section = BUILDERS["flux", "dev"](tmp_path / "flux")
    flux = ModelConfig(family="flux", path=str(tmp_path / "flux"), **section)
    assert "FlowMatchEuler" in refused(flux, name="DDIMScheduler")
    check_sampler(flux, check_model(flux), SamplerConfig(steps=2000))  # a flow has no steps
