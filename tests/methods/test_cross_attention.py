"""Algorithm 5 against a slow, plain version of it, of made-up and of real attention."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch.nn.functional import interpolate

from tests.support.models import encode_prompts, load_model, load_prompt_encoder
from zsd_ray.config.algorithms import CrossAttentionMethod
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion import draws
from zsd_ray.diffusion.schedule import FlowSchedule
from zsd_ray.methods.cross_attention import CrossAttention, class_maps, joint_prompt
from zsd_ray.methods.method import Bound, Sample, Unit
from zsd_ray.models.rows import plain_rows
from zsd_ray.records.errors import UserError

NAMES = ["fox", "polar bear", "lion", "grey timber wolf", "cat", "sea cow", "dog", "ant"]
TEMPLATE = "a photo of a {}"
LENGTH = 24
SHAPE = (1, 4, 4)
SEED = 3


class Words:
    """A PromptEncoder whose tokens are words, of which it reads `length`."""

    device = torch.device("cpu")

    def __init__(self, length=LENGTH):
        self.length = length
        self.encoded = []
        self._known = {}

    def encode(self, prompts):
        self.encoded += prompts
        ids = torch.zeros(len(prompts), LENGTH)
        for row, prompt in enumerate(prompts):
            for place, word in enumerate(prompt.split()):
                ids[row, place] = self._known.setdefault(word, len(self._known) + 1)
        return {"words": ids}

    def places(self, prompt, spans):
        words, names = prompt.split(), [prompt[first:last] for first, last in spans]
        if len(words) > self.length:
            return None
        found, start = [], len(TEMPLATE.split()) - 1
        for name in names:
            n_words = len(name.split())
            assert words[start : start + n_words] == name.split()
            found.append(list(range(start, start + n_words)))
            start += n_words + 1  # the "or" between
        return found


def spans_of(text, names):
    """Where the names stand in a prompt, one after the other."""
    spans, start = [], text.index(" or ".join(names))
    for name in names:
        assert text[start : start + len(name)] == name
        spans.append((start, start + len(name)))
        start += len(name) + len(" or ")
    return spans


class Attending:
    """Two layers of made-up attention, which depends on the place, word, x, time, and where a word
    is in its prompt; `more` is what it attends to besides."""

    schedule = FlowSchedule(1.0)
    sample_shape = SHAPE
    device = torch.device("cpu")

    def __init__(self, more=None):
        self.more = more or {}
        self.rows = []
        generator = torch.Generator().manual_seed(1)
        self._of_word = torch.randn(100, 4, 4, generator=generator)

    def attention(self, x_BCHW, time_B, conditioning):
        self.rows.append(len(x_BCHW))
        words = conditioning["words"].long()
        logits = self._of_word[words].permute(0, 2, 3, 1) * x_BCHW[:, 0, :, :, None]
        logits = logits + 0.3 * time_B[:, None, None, None] - 0.02 * torch.arange(LENGTH)
        for word, value in self.more.items():
            logits = logits + value * (words == word)[:, None, None, :]
        halved = logits.unflatten(1, (2, 2)).unflatten(3, (2, 2)).mean(dim=(2, 4))
        return [logits.softmax(dim=-1), (2 * halved).softmax(dim=-1)]


def bind(rows=5, encoder=None, model=None, names=NAMES):
    encoder = encoder or Words()
    return Bound(
        denoiser=model or Attending(),
        conditioning={"words": torch.zeros(len(names), LENGTH)},
        names=names,
        templates=[TEMPLATE, "a drawing of a {}"],
        network=None,
        rows=rows,
        seed=SEED,
        prompt_encoder=lambda: encoder,
    )


def sample(number, shape=SHAPE):
    x_0 = torch.randn(shape, generator=torch.Generator().manual_seed(number))
    return Sample(f"image {number}", x_0, torch.zeros(3, 8, 8))


def method(**keys):
    return CrossAttentionMethod(**({"times": [0.2, 0.6]} | keys))


def plain_maps(bound, config, image, draw, group):
    """Of a group's names, the maps of each (time, layer): [name][time][layer] (h, w) float64."""
    encoder = bound.prompt_encoder()
    names = [bound.names[number] for number in group]
    text = bound.templates[0].replace("{}", " or ".join(names))
    shape = tuple(image.x_0.shape)
    noise = torch.from_numpy(draws.noise(SEED, image.image_id, range(draw, draw + 1), shape))
    maps = [[] for _ in group]
    for t in bound.denoiser.schedule.snap(np.array(config.times)):
        alpha, sigma = bound.denoiser.schedule.alpha_sigma(np.array([t]))
        x = float(alpha[0]) * image.x_0[None] + float(sigma[0]) * noise
        time = torch.tensor(bound.denoiser.schedule.model_time(np.array([t]))).float()
        layers = bound.denoiser.attention(x, time, encoder.encode([text]))
        if config.resolutions is not None:
            layers = [layer for layer in layers if layer.shape[1] in config.resolutions]
        for name, places in enumerate(encoder.places(text, spans_of(text, names))):
            of_tokens = [
                sum(layer[0, :, :, place].double() for place in places) / len(places)
                for layer in layers
            ]
            maps[name].append(of_tokens)
    return maps


def plain_attention(bound, config, image, draw, group):
    maps = plain_maps(bound, config, image, draw, group)
    values = []
    for of_name in maps:
        parts = []
        for time, layers in enumerate(of_name):
            for layer, of_places in enumerate(layers):
                if config.aggregate == "mean":
                    parts.append(float(of_places.mean()))
                    continue
                largest = max(float(other[time][layer].max()) for other in maps)
                reached = of_places >= config.threshold * largest
                parts.append(float(reached.sum()) / reached.numel())
        values.append(sum(parts) / len(parts))
    return values


def plain_scores(bound, config, image, draw, classes):
    """By number of class, and the evaluations that they took."""
    encoder = bound.prompt_encoder()
    keys = draws.noise(SEED, "", range(draw, draw + 1), (len(bound.names),))[0]
    left = sorted(classes, key=lambda number: keys[number])
    rounds, n_prompts = [], 0
    while True:
        n_groups = 0
        while True:
            n_groups += 1
            small, larger = divmod(len(left), n_groups)
            sizes = [small + 1] * larger + [small] * (n_groups - larger)
            ends = np.cumsum([0, *sizes])
            groups = [left[a:b] for a, b in pairwise(ends)]
            names = [[bound.names[number] for number in group] for group in groups]
            texts = [bound.templates[0].replace("{}", " or ".join(of)) for of in names]
            fit = [
                encoder.places(text, spans_of(text, of)) is not None
                for text, of in zip(texts, names, strict=True)
            ]
            if all(fit) and max(sizes) <= (config.group or len(left)):
                break
        found, left = {}, []
        for group in groups:
            values = plain_attention(bound, config, image, draw, group)
            found |= dict(zip(group, values, strict=True))
            left.append(group[int(np.argmax(values))])
        rounds.append(found)
        n_prompts += n_groups
        if n_groups == 1:
            break
    scores = {}
    for before, found in enumerate(reversed(rounds)):
        for number, value in found.items():
            scores.setdefault(number, before - value)
    return scores, n_prompts * len(config.times)


@pytest.mark.few(4)
@pytest.mark.parametrize("aggregate", ["mean", "count"])
@pytest.mark.parametrize("group", [None, 2, 3, 8])
@pytest.mark.parametrize("resolutions", [None, [2]])
@pytest.mark.parametrize("length", [LENGTH, 12])  # 12 words hold two to four names
def test_equals_the_plain_version(aggregate, group, resolutions, length):
    config = method(aggregate=aggregate, group=group, resolutions=resolutions)
    bound = bind(encoder=Words(length))
    units = [
        Unit(sample(0), range(2), tuple(range(8))),
        Unit(sample(1), range(1, 4), (0, 2, 3, 5, 7)),
        Unit(sample(2), range(1), (4,)),
    ]
    scored = CrossAttention(bound, config).score(units)
    for unit, found in zip(units, scored, strict=True):
        assert found.scores.shape == (len(unit.draws), len(unit.classes))
        assert found.scores.dtype == np.float32
        np.testing.assert_allclose(found.draws.t, [0.4] * len(unit.draws))
        n_evaluations = 0
        for draw, scores in zip(unit.draws, found.scores, strict=True):
            expected, n = plain_scores(bound, config, unit.sample, draw, unit.classes)
            np.testing.assert_allclose(
                scores, [expected[number] for number in unit.classes], rtol=1e-5, atol=1e-6
            )
            n_evaluations += n
        assert found.n_evaluations == n_evaluations


@pytest.mark.few(4)
@pytest.mark.parametrize("aggregate", ["mean", "count"])
@pytest.mark.parametrize("group", [None, 2, 3])
@pytest.mark.parametrize("planted", range(8))
def test_the_class_that_is_attended_to_wins(aggregate, group, planted):
    encoder = Words()
    words = encoder.encode([NAMES[planted]])["words"][0].long().tolist()
    bound = bind(encoder=encoder, model=Attending({word: 4.0 for word in words if word}))
    found = CrossAttention(bound, method(aggregate=aggregate, group=group)).score(
        [Unit(sample(0), range(3), tuple(range(8)))]
    )
    assert (found[0].scores.argmin(axis=1) == planted).all()


def test_who_came_further_is_better():
    bound = bind()
    found = CrossAttention(bound, method(group=2)).score(
        [Unit(sample(0), range(6), tuple(range(8)))]
    )
    for scores in np.sort(found[0].scores, axis=1):  # four, two and two of eight lose in a round
        assert (scores[:2] < 0).all()
        assert ((scores[2:4] > 0) & (scores[2:4] < 1)).all()
        assert ((scores[4:] > 1) & (scores[4:] < 2)).all()


def test_every_draw_has_its_order_which_images_share():
    encoder = Words()
    algorithm = CrossAttention(bind(encoder=encoder), method())
    classes = tuple(range(8))
    algorithm.score([Unit(sample(0), range(4), classes)])
    prompts = list(encoder.encoded)
    assert len(set(prompts)) == 4
    for prompt in prompts:
        assert prompt.startswith("a photo of a ")
        assert sorted(prompt.removeprefix("a photo of a ").split(" or ")) == sorted(NAMES)
    algorithm.score([Unit(sample(1), range(4), classes)])
    assert encoder.encoded == prompts  # none is encoded again
    CrossAttention(bind(encoder=encoder), method()).score([Unit(sample(0), range(2, 3), classes)])
    assert encoder.encoded[4:] == prompts[2:3]


def test_every_forward_is_of_one_shape():
    bound = bind(rows=7)
    algorithm = CrossAttention(bound, method(group=3))
    bound.denoiser.rows.clear()
    found = algorithm.score([Unit(sample(n), range(2), tuple(range(8))) for n in range(3)])
    assert bound.denoiser.rows == [7] * (6 + 2)  # 36 rows, then 12 of two rounds
    assert [scores.n_evaluations for scores in found] == [16, 16, 16]


def test_maps_of_classes_are_those_of_the_first_round():
    bound, config = bind(), method(group=3)
    image = sample(0)
    maps = class_maps(bound, config, image.x_0, image.image_id, draw=2)
    assert (maps.shape, maps.dtype) == ((8, 4, 4), torch.float32)
    keys = draws.noise(SEED, "", range(2, 3), (8,))[0]
    order = np.argsort(keys).tolist()
    for group in (order[:3], order[3:6], order[6:]):
        for number, of_name in zip(group, plain_maps(bound, config, image, 2, group), strict=True):
            layers = [layer for of_time in of_name for layer in of_time]
            large = [interpolate(layer[None, None], (4, 4), mode="bilinear") for layer in layers]
            expected = torch.stack(large).mean(dim=0)[0, 0].float()
            torch.testing.assert_close(maps[number], expected)


def test_maps_that_the_network_lacks_are_said():
    with pytest.raises(UserError, match=r"\[2, 16\]: this model has .* of height 16, but of 2, 4"):
        CrossAttention(bind(), method(resolutions=[2, 16]))


def test_a_prompt_that_holds_one_name_only_is_said():
    message = "the 24 tokens .* do not hold 'a photo of a polar bear or grey timber wolf'"
    names = ["fox", "polar bear", "grey timber wolf"]
    with pytest.raises(UserError, match=message):
        CrossAttention(bind(encoder=Words(9), names=names), method())
    CrossAttention(bind(encoder=Words(10), names=names), method())


@pytest.fixture(scope="module")
def digits():
    """The built-in model with the method of its configuration."""
    config = ModelConfig(path="builtin:digits", device="cpu")
    told = yaml.safe_load(Path("configs/methods/cross-attention.yaml").read_text())
    names, templates = told["prompts"]["classes"], told["prompts"]["templates"]
    prompts = [templates[0].replace("{}", name) for name in names]
    rows = encode_prompts(config, prompts)
    conditioning = {name: torch.from_numpy(of) for name, of in rows.items()}
    model, encoder = load_model(config), load_prompt_encoder(config)
    network = plain_rows(model, conditioning)
    bound = Bound(model, conditioning, names, templates, network, 8, SEED, lambda: encoder)
    return bound, CrossAttentionMethod(**told["method"])


def test_a_name_that_the_template_has_is_read_in_its_slot():
    bound = SimpleNamespace(templates=["a {} on a plates"], names=["cat", "plate"])
    text, spans = joint_prompt(bound, (0, 1))
    assert text == "a cat or plate on a plates"
    assert [text[:first] for first, _ in spans] == ["a ", "a cat or "]
    assert [text[first:last] for first, last in spans] == ["cat", "plate"]


def test_on_a_real_model(digits):
    bound, config = digits
    units = [Unit(sample(n, (4, 8, 8)), range(n, n + 2), tuple(range(10))) for n in range(2)]
    algorithm = CrossAttention(bound, config)
    with torch.no_grad():
        together = algorithm.score(units)
        for unit, found in zip(units, together, strict=True):
            # As planned, and the same alone.
            assert found.n_evaluations == 2 * config.evaluations(10)[1]
            assert np.array_equal(algorithm.score([unit])[0].scores, found.scores)
        expected, _ = plain_scores(bound, config, units[0].sample, 0, range(10))
    np.testing.assert_allclose(
        together[0].scores[0], [expected[number] for number in range(10)], rtol=1e-4, atol=1e-5
    )


def test_what_is_planned_for_a_thousand_classes():
    """53 prompts of 19 names, then 3, then the final."""
    assert method(times=[0.5]).evaluations(1000) == (0, 57)
    assert method(times=[0.3, 0.5], group=3).evaluations(10) == (0, 14)
    assert method(times=[0.5]).evaluations(10) == (0, 1)
