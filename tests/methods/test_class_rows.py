"""Rows go in batches of one shape, and come back as the scores of their units."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gaussian_denoiser import SCHEDULES, GaussianDenoiser, bind, class_means
from tests.support.models import encode_prompts, load_model
from tests.support.profiles import examples
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion import draws
from zsd_ray.methods.class_rows import ClassRows, batches
from zsd_ray.methods.method import Sample, Unit

N_CLASSES, N_TEMPLATES = 3, 2
TIMES = [0.2, 0.5, 0.8]


class Errors(ClassRows):
    """A score that takes part in everything: x_0, noise, time, prompt and pixels of its row."""

    def __init__(self, bound):
        super().__init__(bound)
        self.sizes = []

    def times(self, numbers):
        t = np.array([TIMES[number % len(TIMES)] for number in numbers])
        return self.bound.denoiser.schedule.snap(t)

    def score_rows(self, rows):
        self.sizes.append(len(rows.t))
        alpha, sigma = self.bound.alpha_sigma(rows.t)
        eps = self.bound.epsilon(alpha * rows.x_0 + sigma * rows.noise, rows.t, rows.prompt)
        pixels = torch.stack([sample.pixels for sample in rows.samples])
        errors = (eps - rows.noise).square().mean(dim=(1, 2, 3)) + pixels.mean(dim=(1, 2, 3))
        return errors, rows.prompt.numpy() + 1


@pytest.fixture(scope="module")
def tiny(tiny_model):
    config = ModelConfig(path=str(tiny_model), device="cpu")
    prompts = [
        f"a {noun} of a {name}" for name in ("cat", "dog", "bird") for noun in ("pic", "map")
    ]
    return load_model(config), encode_prompts(config, prompts)


def make(tiny, rows=7):
    return Errors(bind(*tiny, N_CLASSES, N_TEMPLATES, rows))


def sample(denoiser, number):
    generator = torch.Generator().manual_seed(number)
    x_0 = torch.randn(denoiser.sample_shape, generator=generator)
    pixels = torch.randn(3, denoiser.image_size, denoiser.image_size, generator=generator)
    return Sample(f"image-{number}", x_0, pixels)


def plain(scorer, unit):
    """One row after the other, each as a batch of its own."""
    bound, scores = scorer.bound, np.zeros((len(unit.draws), len(unit.classes)))
    for i, number in enumerate(unit.draws):
        t = bound.denoiser.schedule.snap(np.array([TIMES[number % 3]]))
        alpha, sigma = bound.denoiser.schedule.alpha_sigma(t)
        eps = torch.from_numpy(
            draws.noise(
                bound.seed,
                unit.sample.image_id,
                range(number, number + 1),
                bound.denoiser.sample_shape,
            )
        )
        x_t = (float(alpha[0]) * unit.sample.x_0 + float(sigma[0]) * eps).float()
        time = torch.from_numpy(bound.denoiser.schedule.model_time(t)).float()
        for j, k in enumerate(unit.classes):
            for template in range(N_TEMPLATES):
                prompt = k * N_TEMPLATES + template
                row = {name: of[prompt][None] for name, of in bound.conditioning.items()}
                found = bound.denoiser.predict(x_t, time, row)
                scores[i, j] += float((found - eps).square().mean()) / N_TEMPLATES
            scores[i, j] += float(unit.sample.pixels.mean())
    return scores


@torch.no_grad()
def test_scores_are_those_of_a_plain_loop_over_rows(tiny):
    scorer = make(tiny)
    units = [
        Unit(sample(tiny[0], 0), range(2, 5), (0, 2)),
        Unit(sample(tiny[0], 1), range(1), (1,)),
        Unit(sample(tiny[0], 0), range(1, 3), (0, 1, 2)),
    ]
    for found, unit in zip(scorer.score(units), units, strict=True):
        assert found.scores.dtype == np.float32
        np.testing.assert_allclose(found.scores, plain(scorer, unit), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.draws.t, scorer.times(unit.draws))
    assert set(scorer.sizes) == {7}


@torch.no_grad()
def test_what_shares_a_batch_changes_no_bit(tiny):
    """Also where a batch ends in the middle of a class's templates, or is nearly all padding."""
    scorer = make(tiny, rows=5)
    unit = Unit(sample(tiny[0], 0), range(3), (0, 1, 2))
    whole = scorer.score([unit])[0].scores
    company = [Unit(sample(tiny[0], n), range(n), (n % 3,)) for n in (1, 2, 3)]
    for before in range(4):
        found = scorer.score([*company[:before], unit, *company[before:]])[before]
        np.testing.assert_array_equal(found.scores, whole)
    for i in range(3):
        for k in range(3):
            (alone,) = scorer.score([Unit(unit.sample, range(i, i + 1), (k,))])
            np.testing.assert_array_equal(alone.scores, whole[i : i + 1, k : k + 1])


class Addressed(ClassRows):
    """A score that says which row it is of: no network is needed."""

    def times(self, numbers):
        return np.array([0.1 + 0.01 * number for number in numbers])

    def noise(self, image_id, numbers):
        return np.array(list(numbers), dtype=np.float32)[:, None, None, None]

    def score_rows(self, rows):
        image = torch.tensor([float(sample.image_id) for sample in rows.samples])
        scores = 1000 * image + 10 * rows.noise[:, 0, 0, 0] + rows.prompt
        np.testing.assert_allclose(rows.t, 0.1 + 0.01 * rows.noise[:, 0, 0, 0].numpy())
        np.testing.assert_array_equal(rows.x_0[:, 0, 0, 0], image)
        return scores, rows.prompt.numpy() * 0 + 3


@examples(60)
@given(
    rows=st.integers(1, 9),
    n_templates=st.integers(1, 3),
    units=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 5),
            st.integers(1, 4),
            st.sets(st.integers(0, 2), min_size=1),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_every_score_comes_back_to_its_own_place(rows, n_templates, units):
    """In any split of draws and classes; the mean over templates is of their rows' scores."""
    means = class_means(3).repeat_interleave(n_templates, dim=0)
    bound = bind(GaussianDenoiser(SCHEDULES["vp"]), {"mean": means}, 3, n_templates, rows)
    made = [
        Unit(
            Sample(str(image), torch.full((2, 4, 4), float(image)), torch.zeros(3, 4, 4)),
            range(first, first + n),
            tuple(sorted(classes)),
        )
        for image, first, n, classes in units
    ]
    for unit, found in zip(made, Addressed(bound).score(made), strict=True):
        expected = [
            [
                1000 * int(unit.sample.image_id)
                + 10 * number
                + np.mean([k * n_templates + template for template in range(n_templates)])
                for k in unit.classes
            ]
            for number in unit.draws
        ]
        np.testing.assert_allclose(found.scores, expected)
        # Without padding.
        assert found.n_evaluations == 3 * len(unit.draws) * len(unit.classes) * n_templates


@torch.no_grad()
def test_evaluations_are_counted_row_by_row(tiny):
    unit = Unit(sample(tiny[0], 0), range(2), (0, 2))
    (found,) = make(tiny).score([unit])
    assert found.n_evaluations == 2 * (1 + 2 + 5 + 6)


@given(st.integers(1, 50), st.integers(1, 20))
def test_batches_hold_every_row_once_and_repeat_only_the_last(n, size):
    numbers = np.concatenate(batches(n, size))
    np.testing.assert_array_equal(numbers[:n], np.arange(n))
    assert (numbers[n:] == n - 1).all()
    assert len(numbers) == -(-n // size) * size
    assert {len(batch) for batch in batches(n, size)} == {size}
