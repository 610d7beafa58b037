"""A word that is known to be best, shifts, early ends, and the built-in model."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import zsd_ray
from tests.support.digit_runs import configure
from tests.support.gaussian_denoiser import SCHEDULES, SHAPE, GaussianDenoiser
from tests.support.learning import N_CLASSES, bound_of, unit
from tests.support.methods import made
from tests.support.models import encode_prompts, load_model, load_prompt_encoder
from zsd_ray.config.algorithms import TextualInversionMethod
from zsd_ray.config.run import ModelConfig
from zsd_ray.methods.method import Bound, Sample, Unit
from zsd_ray.methods.textual_inversion import Token, shifted
from zsd_ray.models.rows import plain_rows


def showing(bound, embedding, number):
    """An image that is just what this word's prompt stands for."""
    one = unit(number)
    (x_0,) = bound.prompt_encoder().encode_learned("one {}", embedding[None])["mean"]
    return replace(one, sample=replace(one.sample, x_0=x_0))


@pytest.mark.few(1)
@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_image_of_a_word_has_that_word(distance, schedule):
    denoiser = GaussianDenoiser(SCHEDULES[schedule], std=1.0)
    bound = bound_of(32, denoiser, templates=["one {}"])
    names = bound.prompt_encoder().embeddings
    # Near a class's name, and nearer to it than to another's.
    planted = [names[k] + 0.1 * torch.ones(names.shape[1]) for k in range(N_CLASSES)]
    config = TextualInversionMethod(
        steps=250, batch_size=8, learning_rate=0.03, augment=False, patience=None, distance=distance
    )
    units = [showing(bound, word, number) for number, word in enumerate(planted)]
    for k, of in enumerate(made(bound, config).score(units)):
        assert of.scores[0].argmin() == k
        if distance == "l2":
            away = (names - planted[k]).square().sum(dim=1).sqrt()
            np.testing.assert_allclose(of.scores[0], away, atol=0.2)


def token(patience):
    sample = unit(0).sample
    config = TextualInversionMethod(patience=patience)
    return Token(sample, 0, (0, 1), sample.x_0[None], torch.zeros(3), config)


def end_by_hand(losses, patience):
    """The first step after which the running mean's minimum, from the tenth on, is `patience` steps
    old."""
    for n in range(len(losses)):
        running = [
            0.9**m * losses[0] + sum(0.1 * 0.9 ** (m - i) * losses[i] for i in range(1, m + 1))
            for m in range(n + 1)
        ]
        if n >= 9 and n - 9 - int(np.argmin(running[9:])) >= patience:
            return n
    return None


@pytest.mark.parametrize("patience", [1, 4, 9])
def test_patience_is_with_the_running_mean_of_losses(patience):
    for seed in range(5):
        losses = np.random.default_rng(seed).exponential(size=60) + np.linspace(1, 0, 60)
        learning = token(patience)
        ended = (n for n, loss in enumerate(losses) if learning.ended(loss))
        assert next(ended, None) == end_by_hand(losses, patience)
    forever = token(None)
    assert not any(forever.ended(loss) for loss in losses)


def test_shifts_move_an_image_and_repeat_its_edges():
    image = torch.arange(3 * 16 * 16, dtype=torch.float32).view(3, 16, 16)
    same, down, left = shifted(image, [(0.0, 0.2), (1.0, 0.0), (0.0, -0.6)])
    torch.testing.assert_close(same, image)
    torch.testing.assert_close(down[:, 2:], image[:, :-2])
    torch.testing.assert_close(down[:, :2], image[:, :1].expand(-1, 2, -1))
    torch.testing.assert_close(left[:, :, :-1], image[:, :, 1:])
    torch.testing.assert_close(left[:, :, -1], image[:, :, -1])


def test_augmentations_are_the_image_and_addressed_shifts_of_it():
    class Encoding(GaussianDenoiser):
        def encode_images(self, images):
            encoded.append(images[0])
            return images[:, :1, ::4, ::4].expand(-1, SHAPE[0], -1, -1)

        def predict(self, x, time, conditioning):
            seen.append(x)
            return super().predict(x, time, conditioning)

    encoded, seen = [], []
    bound = bound_of(4, Encoding(SCHEDULES["flow"]))
    sample = replace(unit(0).sample, pixels=torch.randn(3, 16, 16))
    # Hardly any noise, so that the network sees x_0.
    config = TextualInversionMethod(steps=2, batch_size=4, t_range=(1e-6, 2e-6))
    method = made(bound, config)
    first = method.problem(sample, 0, (0, 1)).x_0
    assert first.shape == (8, *SHAPE)
    torch.testing.assert_close(first[0], sample.x_0)
    torch.testing.assert_close(first[1:, 0], torch.stack(encoded)[:, 0, ::4, ::4])
    assert len({tuple(image.flatten().tolist()) for image in encoded}) > 4
    torch.testing.assert_close(method.problem(sample, 0, (0, 1)).x_0, first, rtol=0, atol=0)
    assert not torch.equal(method.problem(sample, 1, (0, 1)).x_0, first)
    # Two steps of four rows see each once.
    method.score([Unit(sample, range(1), (0, 1))])
    torch.testing.assert_close(torch.cat(seen), first, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def digits():
    """The built-in model as a worker binds it, and images to score."""
    config = ModelConfig(path="builtin:digits", device="cpu")
    names = ["zero", "one", "seven"]
    template = "a photo of the digit {}."
    rows = encode_prompts(config, [template.replace("{}", name) for name in names])
    conditioning = {name: torch.from_numpy(of) for name, of in rows.items()}
    denoiser = load_model(config)
    return Bound(
        denoiser=denoiser,
        conditioning=conditioning,
        names=names,
        templates=[template],
        network=plain_rows(denoiser, conditioning),
        rows=6,
        seed=0,
        prompt_encoder=lambda: load_prompt_encoder(config),
    )


@pytest.mark.full
def test_an_image_alone_has_the_same_numbers_on_a_real_model(digits):
    method = made(digits, TextualInversionMethod(steps=3, batch_size=2))
    generator = torch.Generator().manual_seed(0)
    shape, size = digits.denoiser.sample_shape, digits.denoiser.image_size
    units = [
        Unit(
            Sample(
                str(number),
                torch.randn(shape, generator=generator),
                torch.rand(3, size, size, generator=generator),
            ),
            range(1),
            (0, 1, 2),
        )
        for number in range(4)
    ]
    together = method.score(units)
    for of, one in zip(together, units, strict=True):
        (alone,) = method.score([one])
        np.testing.assert_array_equal(of.scores, alone.scores)


def test_the_papers_distance_is_between_outputs_of_the_text_encoder(digits):
    """As in the authors' validate.py: names and the token alone, the first output behind the
    beginning; the token is one more of the vocabulary."""
    method = made(digits, TextualInversionMethod(distance="text-encoder", augment=False))
    encoder = digits.prompt_encoder()
    tokenizer, network = encoder._tokenizer, copy.deepcopy(encoder._encoder)
    assert all(len(tokenizer(name).input_ids) == 3 for name in digits.names)
    embeddings = network.get_input_embeddings().weight.data
    size, shape = digits.denoiser.image_size, digits.denoiser.sample_shape
    problem = method.problem(Sample("0", torch.zeros(shape), torch.zeros(3, size, size)), 0, (2, 0))

    def output(ids):
        with torch.no_grad():
            return network(torch.tensor([ids])).last_hidden_state[0][1]

    own = torch.stack([output(tokenizer(digits.names[k]).input_ids) for k in (2, 0)])
    unused = tokenizer("q", add_special_tokens=False).input_ids[0]
    for learned in (problem.learned, embeddings[tokenizer("seven").input_ids[1]].clone()):
        embeddings[unused] = problem.learned = learned
        token = output([tokenizer.bos_token_id, unused, tokenizer.eos_token_id])
        expected = torch.linalg.norm(own - token, dim=1)
        torch.testing.assert_close(method.scores(problem), expected, rtol=1e-4, atol=1e-4)
    assert method.scores(problem)[0] < 1e-3  # it is the name itself


def test_a_name_of_several_tokens_is_the_mean_of_their_outputs(digits):
    encoder = digits.prompt_encoder()
    hidden = encoder.encode(["seven one"])["hidden"][0]
    torch.testing.assert_close(encoder.name_outputs(["seven one"])[0], hidden[1:3].mean(dim=0))
    with pytest.warns(UserWarning, match="cut to the 16 tokens"):
        long = encoder.name_outputs(["seven " * 200])
    assert torch.isfinite(long).all()


@pytest.mark.full
def test_the_built_in_model_is_right_about_most_digits(tmp_path):
    config = configure(
        tmp_path / "run",
        data={"limit": 8},
        method={"name": "textual-inversion", "steps": 15},
        pruning={"rule": "none", "draws": 1},
        cluster={"batch_size": 32},
    )
    result = zsd_ray.run(config, local=True)
    rows = result.table.to_pylist()
    assert sum(row["prediction"] == row["label"] for row in rows) >= 6
    assert {row["n_evaluations"] for row in rows} == {60}
