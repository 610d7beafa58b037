"""Tokens that a text encoder does not know, and settings that are not there, are refused."""

import json

import numpy as np
import pytest

from tests.hostile import model_folders as hostile
from tests.support.models import check_model, encode_prompts
from zsd_ray.records.errors import UserError

SD, T5 = "stable-diffusion-epsilon", "pixart-sigma"
TOKENIZERS = [
    (SD, "tokenizer"),
    ("sdxl-euler", "tokenizer_2"),
    ("sd3-t5", "tokenizer_3"),
    ("flux-dev", "tokenizer"),
    (T5, "tokenizer"),
    ("deepfloyd-if-stage-1", "tokenizer"),
]


def refusal(call, *inputs):
    with pytest.raises(UserError) as caught:
        call(*inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "part"), TOKENIZERS)
def test_a_tokenizer_without_its_settings_is_refused(kind, part, copied):
    folder, config, _ = copied(kind)
    (folder / part / "tokenizer_config.json").unlink()
    said = refusal(check_model, config)
    assert f"{part}/tokenizer_config.json is missing; take another copy" in said


def in_tokenizer(number, text="zzz"):
    def add(folder):
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        content["added_tokens"] += [{"id": number, "content": text, "special": False}]
        path.write_text(json.dumps(content))

    return add


def in_settings(changes):
    return lambda folder: hostile.edit(folder / "tokenizer_config.json", **changes)


def in_file(name, content):
    return lambda folder: (folder / name).write_text(json.dumps(content))


UNKNOWN = "adds the tokens"
WAYS = {
    "added_tokens": (in_tokenizer(10**6), "has the number 1000000, and a whole number below the"),
    "added_tokens, none left": (in_tokenizer(3), UNKNOWN),
    "added_tokens, negative": (in_tokenizer(-1), "has the number -1, and a whole number"),
    "added_tokens, no number": (in_tokenizer("x"), "has the number 'x'"),
    "added_tokens, no text": (in_tokenizer(3, 3), "added_tokens is {"),
    "added_tokens.json": (in_file("added_tokens.json", {"zzz": 10**6}), "has the number 1000000"),
    "added_tokens.json, text": (in_file("added_tokens.json", {"zzz": "x"}), "has the number 'x'"),
    "decoder": (
        in_settings({"added_tokens_decoder": {"1000000": {"content": "zzz"}}}),
        "has the number 1000000",
    ),
    "decoder, none left": (
        in_settings({"added_tokens_decoder": {"3": {"content": "zzz"}}}),
        UNKNOWN,
    ),
    "decoder, no number": (
        in_settings({"added_tokens_decoder": {"x": {"content": "zzz"}}}),
        "has the number 'x'",
    ),
    "decoder, list": (in_settings({"added_tokens_decoder": []}), "added_tokens_decoder is \\[\\]"),
    "pad_token": (in_settings({"pad_token": "<nope>"}), f"{UNKNOWN} <nope>"),
    "pad_token, object": (in_settings({"pad_token": {"content": "<nope>"}}), f"{UNKNOWN} <nope>"),
    "pad_token, number": (in_settings({"pad_token": 3}), "pad_token is 3, and the text of a token"),
    "eos_token": (in_settings({"eos_token": "<nope>"}), f"{UNKNOWN} <nope>"),
    "special_tokens_map": (
        in_file("special_tokens_map.json", {"pad_token": "<nope>"}),
        f"{UNKNOWN} <nope>",
    ),
    "extra": (in_settings({"extra_special_tokens": ["zzz"]}), f"{UNKNOWN} zzz"),
    "extra, object": (in_settings({"extra_special_tokens": {"a": "zzz"}}), f"{UNKNOWN} zzz"),
    "extra, number": (in_settings({"extra_special_tokens": 3}), "extra_special_tokens is 3"),
    "additional": (in_settings({"additional_special_tokens": ["zzz"]}), f"{UNKNOWN} zzz"),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "part"), [(SD, "tokenizer"), ("flux-dev", "tokenizer_2")])
def test_tokens_that_the_text_encoder_does_not_know_are_refused(kind, part, way, copied):
    folder, config, _ = copied(kind)
    spoil, message = WAYS[way]
    spoil(folder / part)
    with pytest.raises(UserError, match=message) as caught:
        check_model(config)
    said = str(caught.value)
    assert "\n" not in said
    assert f"/{part}" in said


GOOD = {
    "of the vocabulary": in_settings({"pad_token": "!"}),
    "with more": in_settings({"pad_token": {"__type": "AddedToken", "content": "!"}}),
    "of no use beside a decoder": lambda folder: (
        in_settings({"added_tokens_decoder": {}})(folder),
        in_file("special_tokens_map.json", {"pad_token": "<nope>"})(folder),
    ),
    "null": in_settings({"pad_token": None, "unk_token": None}),
    "extra that are there": in_settings({"extra_special_tokens": ["!", "#"]}),
}


@pytest.mark.parametrize("way", GOOD)
def test_tokens_that_the_text_encoder_knows_are_good(way, copied):
    folder, config, prompts = copied(SD)
    GOOD[way](folder / "tokenizer")
    encode_prompts(config, prompts)


def test_a_text_encoder_may_know_more_tokens_than_its_vocabulary(copied):
    """T5 has embeddings to spare; a token that was learned has one of its own."""
    folder, config, _ = copied("flux-dev")
    path = folder / "tokenizer_2" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"].pop()
    path.write_text(json.dumps(content))
    in_settings({"extra_special_tokens": ["<extra_id_0>"]})(path.parent)
    check_model(config)


CLIPS = [
    (SD, "text_encoder"),
    ("sdxl-euler", "text_encoder"),
    ("sdxl-euler", "text_encoder_2"),
    ("sd3-t5", "text_encoder_2"),
    ("flux-dev", "text_encoder"),
]


@pytest.mark.few(4)
@pytest.mark.parametrize("value", [3, 0, 10**6, -1, None, "2", [528], True, "absent"])
@pytest.mark.parametrize(("kind", "part"), CLIPS)
def test_an_end_of_text_that_is_not_the_tokenizer_s_is_refused(kind, part, value, copied):
    folder, config, _ = copied(kind)
    path = folder / part / "config.json"
    if value == "absent":
        hostile.drop(path, ("eos_token_id",))
    else:
        hostile.put(path, ("eos_token_id",), value)
    said = refusal(check_model, config)
    came = 49407 if value == "absent" else value
    assert f"{part}/config.json: eos_token_id is {came!r}, and " in said
    assert f"<|endoftext|> in {part.replace('text_encoder', 'tokenizer')}: they are not" in said


@pytest.mark.parametrize("kind", ["sdxl-euler", "sd3-t5", "flux-dev"])
def test_the_end_of_old_configurations_is_the_largest_number(kind, copied):
    folder, config, prompts = copied(kind)
    named = encode_prompts(config, prompts)["pooled"]
    for path in folder.glob("text_encoder*/config.json"):
        if "clip" in json.loads(path.read_text())["model_type"]:
            hostile.edit(path, eos_token_id=2)
    pooled = encode_prompts(config, prompts)["pooled"]
    np.testing.assert_array_equal(pooled, named)
    assert len(np.unique(pooled, axis=0)) == len(prompts)


def test_the_end_of_old_configurations_is_refused_where_it_is_not_the_largest_number(copied):
    folder, config, _ = copied(SD)
    in_settings({"eos_token": "!"})(folder / "tokenizer")
    hostile.edit(folder / "text_encoder" / "config.json", eos_token_id=2)
    assert "eos_token_id is 2, and 0 is expected, the number of !" in refusal(check_model, config)
    hostile.edit(folder / "text_encoder" / "config.json", eos_token_id=0)
    check_model(config)
