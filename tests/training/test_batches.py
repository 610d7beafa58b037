"""Batches as functions of (seed, stage, step), and what happens to their images and captions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zsd_ray.config.training import AugmentConfig, OptimiserConfig
from zsd_ray.training.batches import (
    Epochs,
    TrainingImages,
    affine,
    generators,
    integers,
    normal,
    spread_contrast,
    uniform,
)
from zsd_ray.training.loop import _sheet, learning_rate
from zsd_ray.training.noising import denoising_loss, noising
from zsd_ray.training.ranks import Ranks


def rngs(n, step=0):
    return generators(0, "x", step, range(n))


def test_a_sample_does_not_depend_on_who_has_it():
    whole = normal(generators(3, "s", 7, range(10)), (2, 3))
    parts = [normal(generators(3, "s", 7, Ranks(r, 3).share(10)), (2, 3)) for r in range(3)]
    assert [len(part) for part in parts] == [3, 3, 4]
    assert torch.equal(torch.cat(parts), whole)
    for other in (
        generators(4, "s", 7, range(10)),
        generators(3, "t", 7, range(10)),
        generators(3, "s", 8, range(10)),
    ):
        assert not (normal(other, (2, 3)) == whole).any()


def test_random_numbers_have_the_distributions_that_they_say():
    numbers = rngs(4000)
    assert uniform(numbers, -1, 3).mean() == pytest.approx(1, abs=0.06)
    counts = torch.bincount(integers(numbers, 4))
    assert counts.tolist() == pytest.approx([1000] * 4, abs=110)
    assert normal(numbers, (4,)).std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("n", "size"), [(10, 4), (12, 4), (3, 8), (7, 1)])
def test_an_epoch_is_one_pass_in_nearly_equal_batches(n, size):
    epochs = Epochs(seed=5, n_images=n, batch_size=size)
    orders = []
    for epoch in range(2):
        steps = range(epoch * epochs.steps, (epoch + 1) * epochs.steps)
        sizes = [epochs.size(step) for step in steps]
        assert sum(sizes) == n
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1
        rows = [epochs.rows(s, range(k)).tolist() for s, k in zip(steps, sizes, strict=True)]
        orders.append([row for batch in rows for row in batch])
        assert sorted(orders[-1]) == list(range(n))
    assert n < 4 or orders[0] != orders[1]


def test_ranks_share_the_rows_of_a_step():
    epochs = Epochs(seed=5, n_images=20, batch_size=7)
    whole = epochs.rows(4, range(epochs.size(4)))
    parts = [epochs.rows(4, Ranks(r, 3).share(len(whole))) for r in range(3)]
    assert torch.equal(torch.cat(parts), whole)


def test_images_are_as_they_were_read_unless_changes_are_asked_for():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), np.uint8))
    rows = torch.tensor([4, 0])
    plain = TrainingImages(pixels, None, AugmentConfig()).take(rows, rngs(2))
    torch.testing.assert_close((plain + 1) * 127.5, pixels[rows].float())
    mirrored = TrainingImages(pixels, None, AugmentConfig(mirror=True))
    many = mirrored.take(torch.zeros(400, dtype=torch.int64), rngs(400))
    first = pixels[0].float() / 127.5 - 1
    flipped = (many == first.flip(2)).flatten(1).all(1)
    assert (flipped | (many == first).flatten(1).all(1)).all()
    assert flipped.float().mean() == pytest.approx(0.5, abs=0.1)


def test_scale_moves_the_picture_as_said():
    image = torch.full((1, 3, 32, 32), -1.0)
    image[..., 8:24, 8:24] = 1.0
    half = affine(image, AugmentConfig(scale=(0.5, 0.5)), rngs(1))
    assert half.gt(0).sum() == 3 * 8 * 8
    assert half[0, 0, 12:20, 12:20].gt(0).all()


def test_rotation_and_shift_stay_within_their_bounds():
    image = torch.full((1, 1, 33, 33), -1.0)
    image[..., 16, 16] = 1.0
    moved = affine(image.expand(50, 1, 33, 33), AugmentConfig(shift=0.25), rngs(50))
    places = moved.flatten(1).argmax(1)
    offsets = torch.stack([places // 33, places % 33]).float() - 16
    assert offsets.abs().max() <= 0.25 * 33 + 1
    assert offsets.abs().max() > 4
    turned = affine(image.expand(50, 1, 33, 33), AugmentConfig(degrees=90), rngs(50))
    assert (turned.flatten(1).argmax(1) == 16 * 33 + 16).all()


def test_contrast_stays_in_range_and_spreads():
    images = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8).repeat(16, 3, 1, 1)
    spread = spread_contrast(images, 5.0, rngs(16))
    assert spread.min() == -1
    assert spread.max() == 1
    assert (spread.abs() == 1).float().mean() > (images.abs() == 1).float().mean()


def test_the_loss_is_the_papers():
    """Ho et al. 2020, eq. 14, sample by sample, in float64."""
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 10), 0)
    x_0 = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = []

    def predict(x_t, t):
        seen.append((x_t, t))
        return 0.3 * x_t + t[:, None, None, None]

    chain = SimpleNamespace(alphas_cumprod=alpha_bar)
    noised = noising(chain, "epsilon", "logit-normal")(x_0, rngs(6))
    losses = denoising_loss(predict, noised)
    (x_t, t) = seen[0]
    for row, rng in enumerate(rngs(6)):
        step = int(rng.integers(10))
        eps = rng.standard_normal((1, 4, 4), dtype=np.float32).astype(np.float64)
        a = float(alpha_bar[step])
        noised = a**0.5 * x_0[row].double().numpy() + (1 - a) ** 0.5 * eps
        assert t[row] == step
        assert x_t[row].numpy() == pytest.approx(noised, abs=1e-6)
        expected = np.mean((0.3 * noised + step - eps) ** 2)
        assert losses[row].item() == pytest.approx(expected, rel=1e-5)


def test_learning_rate_warms_up_and_ends_at_nothing_or_stays():
    cosine = OptimiserConfig(learning_rate=1, warmup=0.05)
    factors = [learning_rate(cosine, step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[-1] < 0.01
    constant = OptimiserConfig(learning_rate=0.5, schedule="constant", warmup=0.02)
    assert [learning_rate(constant, step, 100) for step in (0, 1, 2, 99)] == [0.25, 0.5, 0.5, 0.5]


def test_a_grid_has_the_images_in_rows():
    import io

    from PIL import Image

    images = torch.linspace(-1.5, 1, 3)[:, None, None, None].expand(3, 3, 32, 32)
    picture = np.asarray(Image.open(io.BytesIO(_sheet(images))))
    assert picture.shape == (140, 140, 3)  # two of 64 and three gaps of 4
    values = [picture[y, x, 0] for y, x in ((4, 4), (4, 72), (72, 4), (72, 72))]
    assert values == [0, 96, 255, 255]
