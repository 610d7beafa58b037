"""Every family's adapter keeps the convention, on a tiny random model in its real folder format."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.gaussian_denoiser import bind
from tests.support.methods import made
from tests.support.models import check_model, encode_prompts, fingerprint, load_model
from tests.support.tiny_models import BUILDERS, CLASSIFIER_BUILDERS
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig
from zsd_ray.methods.method import Sample, Unit
from zsd_ray.models.rows import row_network

N_ROWS = 7


def test_every_family_has_a_tiny_model():
    assert {family for family, _ in [*BUILDERS, *CLASSIFIER_BUILDERS]} == set(FAMILIES)


@pytest.fixture(scope="session", params=sorted(BUILDERS), ids="-".join)
def tiny(request, tmp_path_factory):
    """The section `model` of a tiny model, and what its classes are told by."""
    family = request.param[0]
    folder = tmp_path_factory.mktemp("model") / family
    prompts, keys = BUILDERS[request.param](folder)
    return ModelConfig(**{"family": family, "path": str(folder), "device": "cpu", **keys}), prompts


@pytest.fixture(scope="session")
def denoiser(tiny):
    return load_model(tiny[0])


@pytest.fixture(scope="session")
def conditioning(tiny):
    return encode_prompts(*tiny)


def rows(conditioning, numbers):
    return {name: torch.from_numpy(of[numbers]) for name, of in conditioning.items()}


@pytest.fixture(scope="session")
def inputs(denoiser, conditioning):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N_ROWS, *denoiser.sample_shape, generator=generator)
    t = denoiser.schedule.snap(np.linspace(0.05, 0.95, N_ROWS))
    time = torch.from_numpy(denoiser.schedule.model_time(t)).float()
    n_prompts = len(next(iter(conditioning.values())))
    return x, time, rows(conditioning, np.arange(N_ROWS) % n_prompts)


@pytest.mark.few(4)
def test_declares_its_shapes_and_keeps_them(denoiser, inputs):
    images = torch.rand(2, 3, denoiser.image_size, denoiser.image_size) * 2 - 1
    x = denoiser.encode_images(images)
    assert x.shape == (2, *denoiser.sample_shape)
    assert x.dtype == torch.float32
    output = denoiser.predict(*inputs)
    assert output.shape == (N_ROWS, *denoiser.sample_shape)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()
    assert not output.requires_grad


@pytest.mark.few(4)
def test_the_schedule_goes_from_data_to_noise(denoiser):
    schedule = denoiser.schedule
    t = schedule.snap(np.linspace(0.02, 0.98, 50))
    alpha, sigma = schedule.alpha_sigma(t)
    log_snr = 2 * np.log(alpha / sigma)
    assert (np.diff(log_snr) < 0).all()
    assert (schedule.log_snr_slope(t) < 0).all()
    if hasattr(schedule, "n_steps"):
        return  # its slope is a difference between steps
    step = 1e-6
    alpha, sigma = schedule.alpha_sigma(t + step)
    slope = (2 * np.log(alpha / sigma) - log_snr) / step
    np.testing.assert_allclose(schedule.log_snr_slope(t), slope, rtol=1e-3)


@pytest.mark.few(4)
def test_many_prompts_are_encoded_as_each_alone(tiny, conditioning):
    config, prompts = tiny
    many = encode_prompts(config, [prompts[i % len(prompts)] for i in range(70)])
    for name, of in conditioning.items():
        alone = np.concatenate([encode_prompts(config, [p])[name] for p in prompts])
        assert of.dtype in (np.float32, np.int64, np.bool_)
        np.testing.assert_allclose(of, alone, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(many[name][64:70], of[np.arange(64, 70) % len(prompts)],
                                   rtol=1e-4, atol=1e-5)  # fmt: skip


@pytest.mark.few(4)
def test_a_batch_of_one_equals_a_batch_of_many(denoiser, inputs):
    x, time, conditioning = inputs
    together = denoiser.predict(*inputs)
    for row in range(N_ROWS):
        only = slice(row, row + 1)
        alone = denoiser.predict(
            x[only], time[only], {name: of[only] for name, of in conditioning.items()}
        )
        torch.testing.assert_close(together[only], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.few(4)
def test_conditioning_matters(denoiser, conditioning, inputs):
    x, time = inputs[0][:2], inputs[1][:2]
    one = denoiser.predict(x, time, rows(conditioning, [0, 0]))
    other = denoiser.predict(x, time, rows(conditioning, [1, 1]))
    assert (one - other).abs().max() > 1e-6


@pytest.mark.few(4)
def test_bfloat16_follows_float32(tiny, denoiser, inputs):
    config = tiny[0].model_copy(update={"dtype": "bfloat16"})
    fast = load_model(config)
    x, time, conditioning = inputs
    half = {
        name: torch.from_numpy(of[np.arange(N_ROWS) % len(of)])
        for name, of in encode_prompts(config, tiny[1]).items()
    }
    assert all(of.dtype in (torch.float16, torch.int64, torch.bool) for of in half.values())
    exact = denoiser.predict(x, time, conditioning)
    difference = (exact - fast.predict(x, time, half)).abs().max()
    assert 0 < difference < 0.05 * exact.abs().max()


def scores(config, prompts, n_draws=12):
    """Scores of one image, (draws, prompts), as a worker makes them."""
    denoiser = load_model(config)
    bound = bind(denoiser, encode_prompts(config, prompts), len(prompts), seed=0)
    network = row_network(denoiser, bound.conditioning, compile=False)
    paper = DiffusionClassifierMethod(weighting="heuristic", timesteps="uniform")
    method = made(replace(bound, network=network), paper)
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, denoiser.image_size, denoiser.image_size, generator=generator)
    sample = Sample("image", denoiser.encode_images(image * 2 - 1)[0])
    with torch.no_grad():
        (found,) = method.score([Unit(sample, range(n_draws), tuple(range(len(prompts))))])
    return found.draws.scores(found.scores)


@pytest.mark.few(4)
def test_bfloat16_decides_as_float32(tiny):
    """With random weights classes are nearly alike, and yet."""
    config, prompts = tiny
    exact = scores(config, prompts).mean(axis=0)
    fast = scores(config.model_copy(update={"dtype": "bfloat16"}), prompts).mean(axis=0)
    leader = exact.argmin()
    paired, changed = exact - exact[leader], fast - fast[leader]
    assert np.abs(changed - paired).max() < 0.5 * paired.max()
    assert fast.argmin() == leader


@pytest.mark.few(4)
def test_a_model_has_a_fingerprint_and_only_safe_files(tiny):
    folder = check_model(tiny[0])
    assert len(fingerprint(tiny[0])) == 32
    if not FAMILIES[tiny[0].family].is_pipeline:
        return  # it is no pipeline folder
    assert not list(folder.rglob("*.bin"))
    assert list(folder.rglob("*.safetensors"))
