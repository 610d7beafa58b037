"""What is compared, and that it is the plain difference of two."""

import numpy as np
import pytest
import torch

from tests.support.models import load_model
from tests.support.tiny_models import clip_folder
from zsd_ray.config.algorithms import NoiseDenoiseMethod
from zsd_ray.config.run import ModelConfig
from zsd_ray.methods.class_rows import Rows
from zsd_ray.methods.distance import make_distance
from zsd_ray.methods.method import Sample
from zsd_ray.models.files.clip_files import open_clip
from zsd_ray.storage.store import Store


@pytest.fixture(scope="module")
def denoiser(tiny_model):
    return load_model(ModelConfig(path=str(tiny_model), device="cpu"))


def made(denoiser):
    """Three images, and what they were denoised to."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 3, 16, 16, generator=generator) * 2 - 1
    x_0 = denoiser.encode_images(pixels).clone()
    denoised = x_0 + 0.1 * torch.randn(x_0.shape, generator=generator)
    samples = [Sample(str(i), x_0[i], pixels[i]) for i in range(3)]
    rows = Rows(x_0, torch.zeros_like(x_0), np.full(3, 0.5), torch.arange(3), samples)
    return denoised, rows, pixels


@torch.no_grad()
def test_latent_is_the_mean_squared_difference_of_x(denoiser):
    denoised, rows, _ = made(denoiser)
    distance = make_distance(denoiser, NoiseDenoiseMethod(distance="latent"), Store())
    found = distance(denoised, rows)
    for i in range(3):
        difference = (denoised[i] - rows.x_0[i]).numpy().astype(np.float64)
        assert float(found[i]) == pytest.approx(np.mean(difference**2), rel=1e-5)


@torch.no_grad()
def test_pixel_is_that_of_the_decoded_image_inside_its_range(denoiser):
    denoised, rows, pixels = made(denoiser)
    denoised = 30 * denoised  # so that the decoder leaves the range
    decoded = denoiser.decode(denoised)
    assert decoded.abs().max() > 1
    found = make_distance(denoiser, NoiseDenoiseMethod(distance="pixel"), Store())(denoised, rows)
    for i in range(3):
        difference = np.clip(decoded[i].numpy(), -1, 1) - pixels[i].numpy()
        assert float(found[i]) == pytest.approx(np.mean(difference.astype(float) ** 2), rel=1e-5)


@torch.no_grad()
def test_clip_is_two_less_twice_the_cosine_of_the_embeddings(denoiser, tmp_path):
    clip_folder(tmp_path / "clip")
    denoised, rows, pixels = made(denoiser)
    section = {"path": str(tmp_path / "clip")}
    method = NoiseDenoiseMethod(distance="clip", clip=section)
    found = make_distance(denoiser, method, Store())(denoised, rows)
    tower = open_clip().create_model(f"local-dir:{tmp_path / 'clip'}").eval()
    mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))

    def embed(images):
        large = torch.nn.functional.interpolate(
            images, size=32, mode="bicubic", antialias=True, align_corners=False
        )
        return tower.encode_image(((large.clamp(-1, 1) + 1) / 2 - mean) / std)

    one, other = embed(denoiser.decode(denoised).clamp(-1, 1)), embed(pixels)
    cosine = torch.nn.functional.cosine_similarity(one, other)
    torch.testing.assert_close(found, 2 - 2 * cosine, rtol=1e-4, atol=1e-6)
    assert found.min() > 1e-4
