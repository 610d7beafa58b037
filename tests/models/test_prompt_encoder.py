"""The kept text encoder against the ordinary path."""

import pytest
import torch

from tests.support.models import encode_prompts, load_prompt_encoder
from zsd_ray.config.run import ModelConfig
from zsd_ray.records.errors import UserError

TEMPLATE = "a photo of the digit {}."


@pytest.fixture(scope="module")
def encoder():
    return load_prompt_encoder(ModelConfig(path="builtin:digits", device="cpu"))


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained("zsd_ray/assets/digits/tokenizer")


@pytest.mark.parametrize("folder", ["builtin:digits", "tiny"])
def test_kept_it_says_what_it_says_once(folder, tiny_model):
    config = ModelConfig(path=str(tiny_model) if folder == "tiny" else folder, device="cpu")
    prompts = ["a photo of a cat.", "seven", ""]
    kept = load_prompt_encoder(config).encode(prompts)
    once = encode_prompts(config, prompts)
    assert kept.keys() == once.keys()
    torch.testing.assert_close(kept["hidden"], torch.from_numpy(once["hidden"]), rtol=0, atol=0)
    assert not kept["hidden"].requires_grad


def test_a_prompt_that_is_cut_is_said_here_too(encoder):
    with pytest.warns(UserWarning, match="cut to the 16 tokens"):
        encoder.encode(["seven " * 20])


@pytest.mark.parametrize("template", [TEMPLATE, "{}", "the digit, {}", "{} is a digit"])
def test_a_learned_token_that_is_a_word_is_that_word(encoder, template):
    words = ["three", "seven"]  # of one token each
    prompts = [template.replace("{}", word) for word in words]
    spelled = encoder.encode(prompts)["hidden"]
    learned = encoder.encode_learned(template, encoder.name_embeddings(words))["hidden"]
    torch.testing.assert_close(learned, spelled, rtol=0, atol=1e-6)
    # The next prompts have no learned token.
    after = encoder.encode(prompts[::-1])["hidden"]
    torch.testing.assert_close(after.flip(0), spelled, rtol=0, atol=1e-6)


def test_a_learned_token_has_a_gradient_by_finite_differences(encoder):
    generator = torch.Generator().manual_seed(0)
    embedding = encoder.name_embeddings(["two"]).clone().requires_grad_(True)
    along = torch.randn(embedding.shape, generator=generator)
    out = encoder.encode_learned(TEMPLATE, embedding)["hidden"]
    weights = torch.randn(out.shape, generator=generator)
    (gradient,) = torch.autograd.grad((out * weights).sum(), embedding)

    def value(step):
        with torch.no_grad():
            moved = encoder.encode_learned(TEMPLATE, embedding + step * along)["hidden"]
        return float((moved.double() * weights.double()).sum())

    # float32: a step of 0.01 keeps both rounding and curvature below a percent here.
    slope = (value(0.01) - value(-0.01)) / 0.02
    assert slope == pytest.approx(float((gradient * along).sum()), rel=0.02)


def test_a_template_that_does_not_fit_is_refused(encoder):
    embedding = encoder.name_embeddings(["two"])
    fits = "a " * 13 + "{}"
    assert encoder.encode_learned(fits, embedding)["hidden"].shape == (1, 16, 64)
    with pytest.raises(UserError, match="takes 17 tokens, and this text encoder reads 16"):
        encoder.encode_learned("a " + fits, embedding)


def test_embeddings_of_names_are_means_over_their_tokens(encoder, tokenizer):
    from transformers import CLIPTextModel

    weight = (
        CLIPTextModel.from_pretrained("zsd_ray/assets/digits/text_encoder", dtype=torch.float32)
        .get_input_embeddings()
        .weight
    )
    names = ["seven", "top-hat", "St. B"]
    for name, row in zip(names, encoder.name_embeddings(names), strict=True):
        ids = tokenizer(name).input_ids[1:-1]
        torch.testing.assert_close(row, weight[ids].mean(dim=0).detach())


def spans_of(prompt, names):
    """The last places of the names, which follow each other."""
    spans, end = [], len(prompt)
    for name in reversed(names):
        first = prompt[:end].rindex(name)
        spans.insert(0, (first, first + len(name)))
        end = first
    return spans


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("a photo of one or seven.", ["one", "seven"]),
        ("a photo of a hot dog", ["hot dog"]),
        ("a photo of a hot one", ["hot", "one"]),
        ("cat, St. B, x-y", ["cat", "St. B", "x-y"]),
        ("Two or two", ["Two", "two"]),
        ("one or one two", ["one", "one two"]),
        ("a of an or (a)", ["an", "(a)"]),
        ("a photo of a photo", ["photo"]),
        ("of x-y", ["y"]),
    ],
)
def test_places_hold_the_tokens_of_the_names(encoder, tokenizer, prompt, names):
    ids = tokenizer(prompt).input_ids
    places = encoder.places(prompt, spans_of(prompt, names))
    for name, places_of_name in zip(names, places, strict=True):
        assert [ids[place] for place in places_of_name] == tokenizer(name).input_ids[1:-1]
    flat = [place for places_of_name in places for place in places_of_name]
    assert flat == sorted(set(flat))


def test_a_name_has_its_punctuation_where_the_template_goes_on_with_more(encoder, tokenizer):
    (places,) = encoder.places("a photo of B.!", [(11, 13)])
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("a photo of B.!").input_ids)
    assert [tokens[place] for place in places] == ["b</w>", "."]


def test_a_prompt_too_long_has_no_places(encoder):
    fits = "one " * 13 + "two"
    assert encoder.places(fits, spans_of(fits, ["two"])) == [[14]]
    assert encoder.places("one " + fits, [(0, 3)]) is None
