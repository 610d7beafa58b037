"""Pictures of a model's classes, against plain loops of one row, and by what they must return."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.support.models import encode_prompts, load_model
from zsd_ray.config.run import ModelConfig
from zsd_ray.data.readers.digits import Digits
from zsd_ray.diffusion import draws
from zsd_ray.diffusion.ddim import grid
from zsd_ray.methods import pictures
from zsd_ray.methods.method import Bound, Sample
from zsd_ray.models.rows import plain_rows
from zsd_ray.scoring.samples import encoder

NAMES = ("cat", "dog", "owl")
DIGITS = ("zero", "five", "eight")
LEVEL, STEPS = 0.7, 4


def bound_to(path, names, template, rows=4):
    config = ModelConfig(path=str(path))
    denoiser = load_model(config)
    arrays = encode_prompts(config, [template.format(name) for name in names])
    conditioning = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    return Bound(
        denoiser=denoiser,
        conditioning=conditioning,
        names=names,
        templates=[template],
        network=plain_rows(denoiser, conditioning),
        rows=rows,
        seed=3,
        prompt_encoder=lambda: pytest.fail("nothing here needs it"),
    )


@pytest.fixture(scope="module")
def tiny(tiny_model):
    return bound_to(tiny_model, NAMES, "a photo of a {}.")


@pytest.fixture(scope="module")
def digits():
    return bound_to("builtin:digits", DIGITS, "a photo of the digit {}.", rows=16)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def x_of(bound, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(bound.denoiser.sample_shape, generator=generator)


def epsilon(bound, x, t, k):
    """eps_hat of one row, by `predict` itself."""
    rows = {name: of[k : k + 1] for name, of in bound.conditioning.items()}
    time = torch.tensor([bound.denoiser.schedule.model_time(t)], dtype=torch.float32)
    return bound.denoiser.predict(x[None].float(), time, rows)[0].double()


def scales(bound, t):
    return (float(value) for value in bound.denoiser.schedule.alpha_sigma(np.array(t)))


def chain(bound, level, steps):
    """The times, least first; what they are is tests/diffusion/test_ddim.py's to say."""
    return grid(bound.denoiser.schedule, np.array([level]), steps)[:, 0].tolist()


def encode(bound, x_0, k, level=LEVEL, steps=STEPS):
    """DDIM backwards, as Song et al. write a step: predict x_0, and noise it to the next level."""
    times = chain(bound, level, steps)
    x, alpha, sigma = x_0.double(), 1.0, 0.0
    for now, then in pairwise(times):
        at_now, _ = scales(bound, now)
        eps = epsilon(bound, at_now * x / alpha, now, k)
        clean = (x - sigma * eps) / alpha
        alpha, sigma = scales(bound, then)
        x = alpha * clean + sigma * eps
    return x


def decode(bound, x, k, level=LEVEL, steps=STEPS):
    times = chain(bound, level, steps)[::-1]
    for now, then in pairwise(times):
        alpha, sigma = scales(bound, now)
        eps = epsilon(bound, x, now, k)
        clean = (x - sigma * eps) / alpha
        alpha, sigma = (1.0, 0.0) if then == times[-1] else scales(bound, then)
        x = alpha * clean + sigma * eps
    return x


def test_the_exchange_is_that_of_a_plain_loop(tiny):
    x_0 = x_of(tiny)
    found = pictures.exchange(tiny, x_0, LEVEL, STEPS)
    assert found.shape == (3, 3, *x_0.shape)
    for i in range(3):
        latent = encode(tiny, x_0, i)
        for j in range(3):
            expected = decode(tiny, latent, j)
            assert found[i, j].double() == pytest.approx(expected, abs=2e-4)
    apart = (found[0, 1] - found[1, 0]).abs().max()
    assert apart > 0.01  # so rows and columns are not taken for each other


def test_a_cell_does_not_depend_on_the_other_classes(tiny, tiny_model):
    x_0 = x_of(tiny)
    all_three = pictures.exchange(tiny, x_0, LEVEL, STEPS)
    two = bound_to(tiny_model, NAMES[:2], "a photo of a {}.")
    assert torch.equal(pictures.exchange(two, x_0, LEVEL, STEPS), all_three[:2, :2])


def test_the_diagonal_returns_the_image(digits):
    x_0 = encoder(digits.denoiser, with_pixels=False)("an image", Digits("test").read(0)).x_0
    found = pictures.exchange(digits, x_0, 0.98, 30)
    differences = (found - x_0).square().mean(dim=(2, 3, 4))
    assert differences.diagonal().max() < 0.02
    assert differences[~torch.eye(3, dtype=bool)].min() > 0.04


def test_slerp_keeps_to_the_arc():
    first, last = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    shares = np.array([0, 1 / 3, 0.5, 1])
    found = pictures.slerp(first, last, shares)
    angles = shares * np.pi / 2
    expected = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, None]
    assert found.numpy() == pytest.approx(expected, abs=1e-6)
    # At an angle that is not right, and of other lengths, the ends are still the ends.
    found = pictures.slerp(first, torch.tensor([[1.0, 1.0]]), np.array([0.0, 1.0]))
    assert found.numpy() == pytest.approx(np.array([[[3, 0]], [[1, 1]]]), abs=1e-6)


def test_between_an_image_and_itself_there_is_no_arc():
    x = torch.tensor([[3.0, -4.0]])  # of which the angle comes out as 0
    found = pictures.slerp(x, x, np.linspace(0, 1, 3))
    assert found.numpy() == pytest.approx(x.expand(3, 1, 2).numpy(), abs=1e-6)


def test_between_is_the_arc_of_a_plain_loop(tiny):
    ends = torch.stack([x_of(tiny, 1), x_of(tiny, 2)])
    found = pictures.between(tiny, ends, LEVEL, STEPS, 5)
    assert found.shape == (3, 5, *ends.shape[1:])
    for k in range(3):
        first, last = (encode(tiny, x, k) for x in ends)
        angle = torch.arccos((first * last).sum() / (first.norm() * last.norm()))
        for place, share in enumerate([0, 0.25, 0.5, 0.75, 1]):
            mixed = torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * last
            expected = decode(tiny, mixed / torch.sin(angle), k)
            assert found[k, place].double() == pytest.approx(expected, abs=5e-4)


def test_distances_are_those_of_shared_noises(tiny):
    x_0, levels, n_noises = x_of(tiny), [0.2, 0.6], 3
    sample = Sample("an image", x_0, torch.zeros(3, 16, 16))
    found = pictures.distances(tiny, sample, levels, STEPS, n_noises)
    assert found.shape == (3, 2, 3)
    noise = draws.noise(tiny.seed, "an image", range(6), tuple(x_0.shape))
    for level, number in [(0, 0), (1, 0), (1, 2)]:
        eps = torch.from_numpy(noise[number * len(levels) + level])
        t = float(tiny.denoiser.schedule.snap(np.array(levels[level])))
        alpha, sigma = scales(tiny, t)
        for k in range(3):
            x = decode(tiny, (alpha * x_0 + sigma * eps).double(), k, levels[level])
            expected = float((x - x_0).square().mean())
            assert found[k, level, number] == pytest.approx(expected, rel=1e-3)


def test_pictures_are_clipped_and_rounded():
    pixels = torch.tensor([-3.0, -1.0, 0.0, 0.5, 1.0, 9.0])
    found = pictures.to_picture(pixels.expand(1, 3, 1, 6))
    assert found.dtype == np.uint8
    assert found.shape == (1, 1, 6, 3)
    assert found[0, 0, :, 1].tolist() == [0, 0, 128, 191, 255, 255]


def test_decoded_pictures_do_not_depend_on_their_company(tiny):
    x = torch.stack([x_of(tiny, seed) for seed in range(3)])
    found = pictures.decoded(tiny, x)
    assert found.shape == (3, 16, 16, 3)
    assert np.array_equal(found[1:2], pictures.decoded(tiny, x[1:2]))
    assert found.std() > 1
