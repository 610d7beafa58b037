"""EDM against diffusers' own network and the preconditioning of its scheduler."""

import json

import numpy as np
import pytest
import torch

from tests.support.models import check_model, encode_prompts, load_model
from tests.support.tiny_models import ddpm, edm
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.records.errors import UserError


def model(tmp_path, **keys):
    _, section = edm(tmp_path / "edm", **keys)
    return ModelConfig(family="edm", path=str(tmp_path / "edm"), device="cpu", **section)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_edm_equals_the_librarys_own_network_and_scheduler(tmp_path, prediction):
    from diffusers import DDPMPipeline

    config = model(tmp_path, prediction=prediction)
    ours = load_model(config)
    pipe = DDPMPipeline.from_pretrained(config.path)
    torch.manual_seed(0)
    x_0 = torch.rand(4, 3, 16, 16) * 2 - 1
    t = np.array([0.1, 0.4, 0.7, 0.95])
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in ours.schedule.alpha_sigma(t)
    )
    assert (alpha == 1).all()
    torch.testing.assert_close(
        sigma.flatten(), pipe.scheduler._compute_karras_sigmas(torch.from_numpy(1 - t)).float()
    )
    x_t = x_0 + sigma * torch.randn(x_0.shape)
    labels = torch.tensor([2, 0, 1, 1])
    with torch.no_grad():
        output = pipe.unet(
            pipe.scheduler.precondition_inputs(x_t, sigma),
            pipe.scheduler.precondition_noise(sigma.flatten()),
            class_labels=labels,
        ).sample
    denoised = pipe.scheduler.precondition_outputs(x_t, output, sigma)

    assert (ours.image_size, ours.sample_shape) == (16, (3, 16, 16))
    torch.testing.assert_close(ours.encode_images(x_0), x_0)
    encoded = encode_prompts(config, ["two", "zero", "one", "one"])["labels"]
    assert encoded.tolist() == labels.tolist()
    time = torch.from_numpy(ours.schedule.model_time(t)).float()
    predicted = ours.predict(x_t, time, {"labels": torch.from_numpy(encoded)})
    torch.testing.assert_close(predicted, denoised, rtol=1e-4, atol=1e-4)
    estimate = to_epsilon(predicted, x_t, alpha, sigma, ours.parametrisation)
    torch.testing.assert_close(estimate, (x_t - denoised) / sigma, rtol=1e-4, atol=1e-4)


def test_the_librarys_sampler_steps_towards_our_denoised_image(tmp_path):
    """At the sampler's own first noise level, by its own way to scale, call and convert."""
    from diffusers import DDPMPipeline

    config = model(tmp_path)
    pipe = DDPMPipeline.from_pretrained(config.path)
    pipe.scheduler.set_timesteps(5)
    time, sigma = pipe.scheduler.timesteps[0], pipe.scheduler.sigmas[0]
    torch.manual_seed(0)
    x, labels = torch.randn(2, 3, 16, 16) * sigma, torch.tensor([0, 1])
    with torch.no_grad():
        scaled = pipe.scheduler.scale_model_input(x, time)
        output = pipe.unet(scaled, time, class_labels=labels).sample
        theirs = pipe.scheduler.step(output, time, x).pred_original_sample
    ours = load_model(config).predict(x, sigma.expand(2), {"labels": labels})
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_other_sampler_of_edm_is_read_alike(tmp_path):
    from diffusers import DDPMPipeline, EDMDPMSolverMultistepScheduler

    config = model(tmp_path)
    pipe = DDPMPipeline.from_pretrained(config.path)
    pipe.scheduler = EDMDPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path / "other")
    other = load_model(config.model_copy(update={"path": str(tmp_path / "other")}))
    ours = load_model(config)
    assert other.schedule == ours.schedule
    x, time, labels = torch.randn(2, 3, 16, 16), torch.tensor([0.1, 9.0]), torch.tensor([0, 1])
    torch.testing.assert_close(
        other.predict(x, time, {"labels": labels}), ours.predict(x, time, {"labels": labels})
    )


def refused(config):
    with pytest.raises(UserError) as caught:
        load_model(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_schedulers_are_refused(tmp_path):
    _, section = ddpm(tmp_path / "ddpm")
    other = ModelConfig(family="edm", path=str(tmp_path / "ddpm"), device="cpu", **section)
    assert "has DDPMScheduler as its scheduler, and model.family edm takes EDMEuler" in refused(
        other
    )
    config = model(tmp_path)
    assert "not a schedule" in refused(config.model_copy(update={"family": "ddpm"}))
    path = check_model(config) / "scheduler" / "scheduler_config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"prediction_type": "sample"}))
    assert "prediction_type 'sample' is not one of epsilon, v_prediction" in refused(config)
    del content["sigma_data"]
    path.write_text(json.dumps(content))
    assert "names no sigma_data" in refused(config)
