"""A classifier whose configuration spoils its input or its scores is refused before a run."""

import json

import pytest
import torch

from tests.hostile import model_folders as hostile
from tests.support.models import check_model, encode_prompts, load_model
from tests.support.tiny_models import CLASSIFIER_BUILDERS
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.classifier_trial import try_classifier
from zsd_ray.records.errors import UserError

NAN = float("nan")
SECTION = {"clip": "preprocess_cfg", "timm": "pretrained_cfg"}
CONFIG = {"clip": "open_clip_config.json", "timm": "config.json"}


@pytest.fixture
def made(tmp_path):
    """A family's folder: its configuration file, its section `model`, and prompts."""

    def of(family):
        prompts, keys = CLASSIFIER_BUILDERS[family, "folder"](tmp_path / family)
        config = ModelConfig(family=family, device="cpu", **keys)
        return tmp_path / family / CONFIG[family], config, prompts

    return of


@pytest.mark.parametrize(
    "value", [[0.5], [0.5, 0.5], [], [NAN] * 3, [0.1, 0.2, "x"], "x", 0.5, [True] * 3, {}]
)
@pytest.mark.parametrize("key", ["mean", "std"])
@pytest.mark.parametrize("family", SECTION)
def test_a_mean_and_a_deviation_are_three_finite_numbers(family, key, value, made):
    path, config, _ = made(family)
    hostile.put(path, (SECTION[family], key), value)
    with pytest.raises(UserError, match=rf"{path}: {SECTION[family]}\.{key} is .*three finite"):
        check_model(config)


@pytest.mark.parametrize(
    ("family", "key", "value", "message"),
    [
        ("clip", "std", [0, 0, 0], "three finite numbers above 0"),
        ("clip", "std", [0.2, -1, 0.2], "three finite numbers above 0"),
        ("timm", "std", [0.2, 0.2, 0], "three finite numbers above 0"),
        ("clip", "size", "x", "one or two sides of 1 to 8,192"),
        ("clip", "size", 10**9, "one or two sides"),
        ("clip", "size", [16], "one or two sides"),
        ("timm", "input_size", [1, 32, 32], r"\[3, height, width\]"),
        ("timm", "input_size", [3, "x"], r"\[3, height, width\]"),
        ("timm", "input_size", [3, 32, 0], r"\[3, height, width\]"),
        ("timm", "crop_pct", 0, "a number above 0, to 2"),
        ("timm", "crop_pct", -0.5, "a number above 0, to 2"),
        ("timm", "crop_pct", "x", "a number above 0, to 2"),
        ("timm", "crop_pct", NAN, "a number above 0, to 2"),
    ],
)
def test_sizes_and_crops_that_cannot_be_are_refused(family, key, value, message, made):
    path, config, _ = made(family)
    hostile.put(path, (SECTION[family], key), value)
    with pytest.raises(UserError, match=f"{key} is .*{message}"):
        check_model(config)


@pytest.mark.parametrize("family", SECTION)
def test_what_is_null_is_the_librarys(family, made):
    path, config, _ = made(family)
    for key in ("mean", "std"):
        hostile.put(path, (SECTION[family], key), None)
    load_model(config)


def test_a_timm_folder_of_early_versions_says_its_input_at_the_top(made):
    path, config, _ = made("timm")
    content = json.loads(path.read_text())
    early = content.pop("pretrained_cfg") | {
        key: content[key] for key in ("architecture", "num_classes", "label_names")
    }
    path.write_text(json.dumps(early))
    load_model(config)
    hostile.put(path, ("std",), [0, 0, 0])
    with pytest.raises(UserError, match=r": std is \[0, 0, 0\]"):
        check_model(config)


@pytest.mark.parametrize("value", [[], 3, "x"])
@pytest.mark.parametrize("family", SECTION)
def test_a_section_of_the_input_is_an_object(family, value, made):
    path, config, _ = made(family)
    hostile.put(path, (SECTION[family],), value)
    with pytest.raises(UserError, match=f"{SECTION[family]} must be a JSON object"):
        check_model(config)


# ---- what makes scores that mean nothing


@pytest.mark.parametrize("pool", ["first", "none", "bogus", None, ["eos"], 3])
def test_a_text_tower_that_tells_no_prompts_apart_is_refused(pool, made):
    path, config, _ = made("clip")
    hostile.put(path, ("model_cfg", "text_cfg", "pool_type"), pool)
    with pytest.raises(UserError, match="tells no prompts apart, and one of argmax, last, eos"):
        check_model(config)


@pytest.mark.parametrize("pool", ["argmax", "last", "first"])
def test_a_text_tower_that_sees_the_whole_prompt_may_pool_by_any_token(pool, made):
    path, config, _ = made("clip")
    hostile.put(path, ("model_cfg", "text_cfg", "no_causal_mask"), True)
    hostile.put(path, ("model_cfg", "custom_text"), True)
    hostile.put(path, ("model_cfg", "text_cfg", "pool_type"), pool)
    check_model(config)


def test_prompts_that_are_all_read_alike_are_refused(made):
    path, config, prompts = made("clip")
    hostile.change_tensors(
        path.parent / "open_clip_model.safetensors",
        lambda tensors: tensors["text_projection"].fill(0),
    )
    with pytest.raises(UserError, match="gives the same embedding to all of 3 prompts"):
        encode_prompts(config, prompts)


def test_embeddings_of_other_widths_are_refused(made):
    path, config, _ = made("clip")
    hostile.put(path, ("model_cfg", "embed_dim"), "24")
    with pytest.raises(UserError, match="embed_dim is '24'"):
        check_model(config)


@pytest.mark.parametrize("value", ["", False, None])
def test_a_network_that_does_not_pool_is_refused(value, made):
    path, config, _ = made("timm")
    hostile.put(path, ("model_args",), {"global_pool": value})
    with pytest.raises(UserError, match=r"model_args\.global_pool is .*remove it"):
        check_model(config)


class Odd:
    """A classifier that returns given scores."""

    device = torch.device("cpu")

    def __init__(self, scores, sides=(8, 8)):
        self._scores, self._sides = scores, iter(sides)

    def preprocess(self, image):
        side = next(self._sides)
        return torch.zeros(3, side, side)

    def trial_classes(self):
        return torch.zeros(2)

    def scores(self, images, classes):
        return torch.as_tensor(self._scores)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0, 2.0], [3.0, NAN]], "scores that are not finite"),
        ([[1.0, float("inf")], [3.0, 2.0]], "scores that are not finite"),
        ([1.0, 2.0], "scores of 2 for 2 pictures and 2 classes"),
        ([[[1.0], [2.0]], [[3.0], [4.0]]], "scores of 2 x 2 x 1 for"),
        ([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], "scores of 2 x 3 for"),
    ],
)
def test_scores_that_are_none_are_refused_when_a_classifier_is_loaded(scores, message):
    with pytest.raises(UserError, match=rf"^the model gives {message}.*; take another copy"):
        try_classifier(Odd(scores), "the model")


def test_a_trial_takes_what_is_right_and_refuses_inputs_of_two_shapes():
    try_classifier(Odd([[1.0, 2.0], [3.0, 4.0]]), "the model")
    with pytest.raises(UserError, match="inputs of 3 x 8 x 8 and 3 x 9 x 9 of two pictures"):
        try_classifier(Odd([[1.0, 2.0], [3.0, 4.0]], sides=(8, 9)), "the model")


@pytest.mark.parametrize(
    ("family", "spot", "value"),
    [
        ("timm", ("model_args",), {"in_chans": 1}),
        ("timm", ("pretrained_cfg", "interpolation"), "bogus"),
        ("clip", ("preprocess_cfg", "interpolation"), "bogus"),
        ("clip", ("preprocess_cfg", "resize_mode"), "bogus"),
        ("clip", ("preprocess_cfg", "fill_color"), "x"),
        ("clip", ("model_cfg", "vision_cfg", "pool_type"), "none"),
    ],
)
def test_what_fails_only_in_use_fails_when_a_classifier_is_loaded(family, spot, value, made):
    path, config, _ = made(family)
    hostile.put(path, spot, value)
    if spot[-1] == "fill_color":
        hostile.put(path, ("preprocess_cfg", "resize_mode"), "longest")
    with pytest.raises(UserError):
        load_model(config)
