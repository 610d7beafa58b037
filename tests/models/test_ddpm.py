"""DDPM in pixels against diffusers' own network and scheduler."""

import json

import pytest
import torch

from tests.support.models import check_model, check_null_prompt, encode_prompts, load_model
from tests.support.tiny_models import ddpm
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.models.conditioning.labels import label_names
from zsd_ray.records.errors import UserError

NAMES = ["two", "zero", "one"]
KINDS = {
    "labels": {},
    "learned variance": {"learned_variance": True},
    "grey": {"channels": 1},
    "any number": {"class_embed_type": "timestep"},
    "learned times": {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    "v": {"prediction": "v_prediction"},
    "sample": {"prediction": "sample"},
    "unconditional": {"num_class_embeds": None},
}


def model(tmp_path, **keys):
    _, section = ddpm(tmp_path / "ddpm", **keys)
    return ModelConfig(family="ddpm", path=str(tmp_path / "ddpm"), device="cpu", **section)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", KINDS)
def test_ddpm_equals_the_librarys_own_network_and_scheduler(tmp_path, kind):
    from diffusers import DDPMPipeline

    config = model(tmp_path, **KINDS[kind])
    ours = load_model(config)
    pipe = DDPMPipeline.from_pretrained(config.path)
    torch.manual_seed(0)
    channels = pipe.unet.config.in_channels
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    x_0 = images
    if channels == 1:
        red, green, blue = images.unbind(1)
        x_0 = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    labels = None if kind == "unconditional" else torch.tensor([2, 0, 1])
    steps, eps = torch.tensor([30, 500, 900]), torch.randn(x_0.shape)
    x_t = pipe.scheduler.add_noise(x_0, eps, steps)
    with torch.no_grad():
        output = pipe.unet(x_t, steps, class_labels=labels).sample[:, :channels]
    abar = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
    theirs = {
        "v": abar.sqrt() * output + (1 - abar).sqrt() * x_t,
        "sample": (x_t - abar.sqrt() * output) / (1 - abar).sqrt(),
    }.get(kind, output)

    assert (ours.image_size, ours.sample_shape) == (16, (channels, 16, 16))
    torch.testing.assert_close(ours.encode_images(images), x_0)
    conditioning = {}
    if labels is not None:
        encoded = encode_prompts(config, NAMES)
        assert encoded["labels"].tolist() == labels.tolist()
        conditioning = {"labels": torch.from_numpy(encoded["labels"])}
    t = (steps.numpy() + 0.5) / 1000
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in ours.schedule.alpha_sigma(t)
    )
    our_x_t = alpha * x_0 + sigma * eps
    torch.testing.assert_close(our_x_t, x_t, rtol=1e-4, atol=1e-5)
    time = torch.from_numpy(ours.schedule.model_time(t)).float()
    predicted = ours.predict(our_x_t, time, conditioning)
    estimate = to_epsilon(predicted, our_x_t, alpha, sigma, ours.parametrisation)
    torch.testing.assert_close(estimate, theirs, rtol=1e-4, atol=1e-4)


def test_a_grey_image_of_three_channels_stays_what_it_is_in_one(tmp_path):
    grey = torch.rand(2, 1, 16, 16) * 2 - 1
    ours = load_model(model(tmp_path, channels=1))
    torch.testing.assert_close(ours.encode_images(grey.expand(-1, 3, -1, -1)), grey)


def test_another_image_size(tmp_path):
    config = model(tmp_path)
    large = load_model(config.model_copy(update={"image_size": 32}))
    assert (large.image_size, large.sample_shape) == (32, (3, 32, 32))
    x, label = torch.randn(1, 3, 32, 32), {"labels": torch.tensor([0])}
    assert large.predict(x, torch.tensor([5.0]), label).shape == x.shape
    assert "must be a multiple of 2" in refused(config.model_copy(update={"image_size": 31}))


def refused(config):
    with pytest.raises(UserError) as caught:
        load_model(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(config, file, **changes):
    path = check_model(config) / file
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_networks_that_are_not_of_pixels_are_refused(tmp_path):
    assert "takes 4 channels" in refused(model(tmp_path / "a", channels=4))
    assert "fourier" in refused(model(tmp_path / "b", time_embedding_type="fourier"))
    assert "only square images" in refused(model(tmp_path / "c", sample_size=(16, 32)))
    assert "says no image size" in refused(model(tmp_path / "d", sample_size=None))
    latent = model(tmp_path / "e")
    edit(latent, "model_index.json", vqvae=["diffusers", "VQModel"])
    assert "holds vqvae too" in refused(latent)
    other = model(tmp_path / "f")
    edit(other, "model_index.json", unet=["diffusers", "UNet2DConditionModel"])
    assert "has UNet2DConditionModel as its unet" in refused(other)


def test_a_schedule_without_betas_is_refused(tmp_path):
    config = model(tmp_path)
    edit(config, "scheduler/scheduler_config.json", beta_start=None, beta_end=None)
    assert "names no beta_start, beta_end: not a schedule" in refused(config)


def test_the_label_behind_those_that_have_names_is_of_no_class(tmp_path):
    ddpm(tmp_path / "ddpm", num_class_embeds=4)
    config = ModelConfig(family="ddpm", path=str(tmp_path / "ddpm"), device="cpu")
    with pytest.raises(UserError, match="always conditioned on a label"):
        check_null_prompt(config)
    edit(config, "model_index.json", id2label={"0": "zero", "1": "one", "2": "two"})
    check_null_prompt(config)
    assert encode_prompts(config, ["two", "", "zero"])["labels"].tolist() == [2, 3, 0]
    assert label_names(check_model(config), config) == ["zero", "one", "two"]
