"""decode undoes encode as the library's own autoencoder does, for every family that can."""

import pytest
import torch

from tests.support.models import load_model
from tests.support.tiny_models import BUILDERS, ddpm
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig

DECODES = sorted(key for key in BUILDERS if "decode" in FAMILIES[key[0]].abilities)


def load(folder, family, builder):
    _, keys = builder(folder)
    model = load_model(ModelConfig(family=family, path=str(folder), device="cpu", **keys))
    size, generator = model.image_size, torch.Generator().manual_seed(0)
    return model, torch.rand(2, 3, size, size, generator=generator) * 2 - 1


def test_these_families_decode():
    assert {family for family, _ in DECODES} == set(FAMILIES) - {"custom", "clip", "timm", "probe"}


@pytest.mark.few(2)
@torch.no_grad()
@pytest.mark.parametrize("key", DECODES, ids="-".join)
def test_decoding_what_was_encoded_is_the_librarys_reconstruction(key, tmp_path):
    from diffusers import AutoencoderKL

    model, images = load(tmp_path / "model", key[0], BUILDERS[key])
    decoded = model.decode(model.encode_images(images))
    assert decoded.shape == images.shape
    assert decoded.dtype == torch.float32
    if (tmp_path / "model" / "vae").is_dir():
        vae = AutoencoderKL.from_pretrained(tmp_path / "model" / "vae")
        images = vae.decode(vae.encode(images).latent_dist.mode()).sample
        # x itself is scaled: decoding it as it is must give something else.
        x = model.encode_images(images)
        assert (vae.decode(x).sample - model.decode(x)).abs().max() > 1e-3
    torch.testing.assert_close(decoded, images, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_grey_model_has_three_like_channels(tmp_path):
    model, images = load(tmp_path / "grey", "ddpm", lambda folder: ddpm(folder, channels=1))
    decoded = model.decode(model.encode_images(images))
    red, green, blue = images.unbind(dim=1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    assert decoded.shape == images.shape
    for channel in decoded.unbind(dim=1):
        torch.testing.assert_close(channel, grey)
