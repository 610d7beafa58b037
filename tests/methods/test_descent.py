"""Both descents against a plain loop over one image, and what their problems share."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.gaussian_denoiser import SCHEDULES, SHAPE, GaussianDenoiser
from tests.support.learning import N_CLASSES, SEED, TEMPLATES, bound_of, slow_projection, unit
from tests.support.methods import made
from zsd_ray.config.algorithms import TextualInversionMethod, WeightedPromptsMethod
from zsd_ray.diffusion import draws
from zsd_ray.methods.descent import row_losses

METHODS = {
    "l2": TextualInversionMethod(steps=12, batch_size=3, augment=False, patience=None),
    "cosine": TextualInversionMethod(
        steps=5, batch_size=3, augment=False, patience=None, distance="cosine", learning_rate=0.2
    ),
    "softmax": WeightedPromptsMethod(steps=12, batch_size=3, tolerance=0),
    "simplex": WeightedPromptsMethod(
        steps=12, batch_size=3, tolerance=0, constraint="simplex", learning_rate=0.02
    ),
}


def plain_scores(bound, method, unit, draw=0):
    """One draw of one image: everything in one graph, a step after the other."""
    inverts = isinstance(method, TextualInversionMethod)
    classes = list(unit.classes)
    encoder, schedule = bound.prompt_encoder(), bound.denoiser.schedule
    by_class = bound.conditioning["mean"].view(N_CLASSES, -1, *SHAPE).mean(dim=1)[classes]
    names = encoder.embeddings[classes]
    simplex = not inverts and method.constraint == "simplex"
    if inverts:
        theta = names.mean(dim=0)
    else:
        theta = torch.full((len(classes),), 1 / len(classes) if simplex else 0.0)
    theta.requires_grad_()
    adam = torch.optim.Adam([theta], lr=method.learning_rate)
    for step in range(method.steps):
        losses = []
        for pair in range(method.batch_size):
            number = draw * 2**32 + step * method.batch_size + pair
            one = (SEED, unit.sample.image_id, range(number, number + 1))
            t = schedule.snap(draws.times(*one, "stratified", method.t_range))
            eps = torch.from_numpy(draws.noise(*one, SHAPE))
            alpha, sigma = (float(of[0]) for of in schedule.alpha_sigma(t))
            if inverts:
                template = TEMPLATES[step % 2]
                mean = encoder.encode_learned(template, theta[None])["mean"]
            else:
                weights = theta if simplex else theta.softmax(dim=0)
                mean = torch.einsum("k,kchw->chw", weights, by_class)[None]
            time = torch.from_numpy(schedule.model_time(t)).float()
            x_t = alpha * unit.sample.x_0 + sigma * eps
            losses.append((bound.denoiser.predict(x_t, time, {"mean": mean}) - eps).square().mean())
        adam.zero_grad()
        (sum(losses) / len(losses)).backward()
        adam.step()
        if simplex:
            theta.data.copy_(slow_projection(theta.data))
    theta = theta.detach()
    if not inverts:
        return -(theta if simplex else theta.softmax(dim=0)).numpy()
    if method.distance == "l2":
        return np.array([float((name - theta).norm()) for name in names])
    return np.array(
        [1 - float(name @ theta / (name.norm() * theta.norm())) for name in names], np.float32
    )


@pytest.mark.few(2)
@pytest.mark.parametrize("key", METHODS)
@pytest.mark.parametrize("rows", [12, 2])
def test_scores_are_those_of_a_plain_loop(key, rows):
    """Addressed pairs, gradients, Adam, constraint and scores; also where a batch needs several
    forwards, and where a unit has not all classes."""
    bound, units = bound_of(rows), [unit(0, n_draws=2), unit(1, classes=(1, 3)), unit(2)]
    found = made(bound, METHODS[key]).score(units)
    for of, asked in zip(found, units, strict=True):
        wanted = [plain_scores(bound, METHODS[key], asked, draw) for draw in asked.draws]
        assert of.scores.dtype == np.float32
        np.testing.assert_allclose(of.scores, wanted, rtol=1e-4, atol=1e-5)
        assert of.draws.t.tolist() == [0.5005] * len(asked.draws)
        assert of.n_evaluations == len(asked.draws) * METHODS[key].steps * 3
    # Draws differ.
    assert np.abs(found[0].scores[0] - found[0].scores[1]).max() > 1e-3


@pytest.mark.parametrize("key", METHODS)
def test_gradients_are_those_of_finite_differences(key):
    bound = bound_of()
    method = made(bound, METHODS[key])
    problems = [method.problem(unit(number).sample, 0, (0, 1, 3)) for number in range(3)]
    generator = torch.Generator().manual_seed(1)
    for problem in problems:  # away from where all start
        problem.learned += 0.3 * torch.randn(problem.learned.shape, generator=generator)

    @torch.no_grad()
    def losses():
        conditioning, pull_back = method.conditioning(problems, 0)
        found, gradients = method.loss(problems, 0, conditioning)
        return found.double(), pull_back(gradients)

    def moved(step, directions):
        for problem, direction in zip(problems, directions, strict=True):
            problem.learned += step * direction
        return losses()[0]

    _, gradients = losses()
    # Half along the gradient, so that no slope is small by chance.
    along = [torch.randn(of.shape, generator=generator) for of in gradients]
    along = [of / of.norm() + g / g.norm() for of, g in zip(along, gradients, strict=True)]
    change = moved(0.02, along) - moved(-0.04, along)
    for gradient, direction, slope in zip(gradients, along, change / 0.04, strict=True):
        assert float(gradient @ direction) == pytest.approx(float(slope), rel=1e-2)


def test_a_rows_loss_is_the_mean_squared_error_of_eps_and_has_its_own_gradient():
    bound = bound_of(rows=4)
    generator = torch.Generator().manual_seed(2)
    x_0, eps, mean = torch.randn(3, 7, *SHAPE, generator=generator)
    t = SCHEDULES["vp"].snap(np.linspace(0.1, 0.9, 7))
    whole = torch.ones(7, 2, dtype=torch.int64)
    with torch.no_grad():
        losses, gradients = row_losses(bound, x_0, t, eps, {"mean": mean, "mask": whole})
    assert gradients.keys() == {"mean"}
    alpha, sigma = bound.alpha_sigma(t)
    mean.requires_grad_()
    time = torch.from_numpy(SCHEDULES["vp"].model_time(t)).float()
    output = bound.denoiser.predict(alpha * x_0 + sigma * eps, time, {"mean": mean})
    wanted = (output - eps).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(losses, wanted.detach())
    torch.testing.assert_close(gradients["mean"], torch.autograd.grad(wanted.sum(), mean)[0])


@pytest.mark.parametrize("key", METHODS)
def test_a_unit_alone_has_the_same_numbers(key):
    units = [unit(0), unit(1, (0, 2)), unit(2, n_draws=3), unit(3), unit(4)]
    method = made(bound_of(rows=7), METHODS[key])  # two problems at once, and a row to spare
    together = method.score(units)
    assert method.at_once == 2
    for of, one in zip(together, units, strict=True):
        (alone,) = method.score([one])
        np.testing.assert_array_equal(of.scores, alone.scores)
        assert of.n_evaluations == alone.n_evaluations


@pytest.mark.parametrize("key", METHODS)
def test_forwards_have_one_shape(key):
    class Noting(GaussianDenoiser):
        def predict(self, x, time, conditioning):
            sizes.append((len(x), len(conditioning["mean"])))
            return super().predict(x, time, conditioning)

    sizes = []
    bound = bound_of(8, Noting(SCHEDULES["vp"]))
    made(bound, METHODS[key]).score([unit(0), unit(1), unit(2)])
    assert set(sizes) == {(8, 8)}
    assert set(bound.prompt_encoder().n_learned) <= {2}


def early(key):
    if key == "patience":
        return TextualInversionMethod(steps=300, augment=False, patience=4, learning_rate=0.1)
    return WeightedPromptsMethod(steps=300, tolerance=0.03, learning_rate=0.1)


@pytest.mark.parametrize("key", ["patience", "tolerance"])
def test_an_image_that_ends_early_is_not_counted_nor_in_the_way(key):
    units = [unit(number) for number in range(5)]
    bound = bound_of(12)
    found = made(bound, early(key)).score(units)
    steps = [of.n_evaluations // 4 for of in found]
    assert len(set(steps)) > 1
    assert max(steps) < 300
    for of, one, n in zip(found, units, steps, strict=True):
        free = {"patience": None} if key == "patience" else {"tolerance": 0}
        as_long = early(key).model_copy(update={"steps": n, **free})
        (alone,) = made(bound, as_long).score([one])
        np.testing.assert_array_equal(of.scores, alone.scores)
        assert of.n_evaluations == alone.n_evaluations == 4 * n


def test_another_seed_or_image_id_has_other_pairs():
    one = unit(0)
    other = replace(one, sample=replace(one.sample, image_id="another"))
    bound = bound_of()
    found = [
        made(of, METHODS["softmax"]).score([asked])[0].scores
        for of, asked in [(bound, one), (bound, other), (replace(bound, seed=SEED + 1), one)]
    ]
    assert np.abs(found[0] - found[1]).max() > 1e-4
    assert np.abs(found[0] - found[2]).max() > 1e-4
