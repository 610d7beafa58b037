"""A saved probe as a classifier."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from tests.hostile.model_folders import change_tensors
from tests.support.models import check_model, check_prompts, fingerprint, load_model
from tests.support.tiny_models.probe import NAMES, probe
from zsd_ray.config.pooling import Cell, GridPooling
from zsd_ray.config.run import ModelConfig
from zsd_ray.data.pictures.transforms import to_model_range, to_square
from zsd_ray.models.features.probe_features import FeatureExtractor
from zsd_ray.models.files.probe_files import WEIGHTS
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError


@pytest.fixture
def config(tmp_path):
    _, keys = probe(tmp_path)
    return ModelConfig(family="probe", device="cpu", **keys)


def test_scores_are_minus_log_probabilities_of_its_features(config, tmp_path):
    classifier = load_model(config)
    rng = np.random.default_rng(2)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for size in ((30, 20), (16, 16))
    ]
    squares = np.stack([to_square(picture, 16) for picture in pictures])
    expected_input = torch.from_numpy(to_model_range(squares))
    inputs = torch.stack([classifier.preprocess(picture) for picture in pictures])
    assert torch.equal(inputs, expected_input)  # or its noise would be another
    model = ModelConfig(family="ddpm", path=str(tmp_path / "model"), device="cpu")
    take = FeatureExtractor.load(resolve_model(model), "", [0.2], ["mid"], [GridPooling(grid=2)], 3)
    features = take(expected_input)[Cell(0.2, "mid", "grid-2")].double().numpy()
    weights = load_file(tmp_path / "probe" / "probe.safetensors")
    logits = features @ weights["weight"].T + weights["bias"]
    minus_log_p = -(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    found = classifier.scores(inputs, torch.tensor([9, 0, 2]))
    np.testing.assert_allclose(found, minus_log_p[:, [9, 0, 2]], rtol=1e-5, atol=1e-5)


def test_labels_have_the_names_that_it_or_the_configuration_gives(config):
    check_prompts(config, NAMES)
    with pytest.raises(UserError, match="none for cat"):
        check_prompts(config, ["cat", "two"])
    named = config.model_copy(update={"labels": ["cat", *NAMES[1:]]})
    check_prompts(named, ["cat", "two"])
    with pytest.raises(UserError, match=r"model\.labels has 11 names for 10 labels"):
        check_prompts(config.model_copy(update={"labels": [*NAMES, "ten"]}), NAMES)


def test_its_fingerprint_is_of_the_probe_and_of_the_model_under_it(config, tmp_path):
    seen = [fingerprint(config)]
    index = tmp_path / "probe" / "probe.json"
    index.write_text(index.read_text().replace('"seed": 3', '"seed": 4'))
    seen.append(fingerprint(config))
    under = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    under.write_text(under.read_text() + "\n")
    seen.append(fingerprint(config))
    assert len(set(seen)) == 3


def test_what_is_no_saved_probe_is_refused(config, tmp_path):
    index = tmp_path / "probe" / "probe.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps(content | {"model": {"family": "ddpm", "path": "away/x/y"}}))
    with pytest.raises(
        UserError, match=r"the model under the probe .*: model\.path away/x/y is not"
    ):
        check_model(config.model_copy(update={"pretrained": "away/x/y"}))
    # A stranger's folder may not choose what runs code.
    for odd, family in (({"pickle": True}, "ddpm"), ({}, "custom"), ({}, "probe"), ({}, "clip")):
        model = content["model"] | {"family": family} | odd
        index.write_text(json.dumps(content | {"model": model}))
        with pytest.raises(UserError, match=f"names a model of family {family}"):
            check_model(config)
    index.write_text(json.dumps({"t": 1}))
    with pytest.raises(UserError, match="is not a saved probe of this version"):
        check_model(config)
    (tmp_path / "probe" / "probe.safetensors").unlink()
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"lacks probe\.safetensors"):
        check_model(config)
    index.unlink()
    with pytest.raises(UserError, match=r"has no probe\.json: not a saved probe"):
        check_model(config)
    with pytest.raises(UserError, match=r"model\.image_size is of no use to model.family probe"):
        check_model(config.model_copy(update={"image_size": 32}))


def test_the_network_runs_in_the_dtype_that_is_set_else_in_the_probes(config, tmp_path):
    index = tmp_path / "probe" / "probe.json"
    content = json.loads(index.read_text())
    content["model"]["dtype"] = "bfloat16"
    index.write_text(json.dumps(content))
    image, classes = torch.zeros(1, 3, 16, 16), torch.arange(10)
    own = load_model(config).scores(image, classes)
    exact = load_model(config.model_copy(update={"dtype": "float32"})).scores(image, classes)
    half = load_model(config.model_copy(update={"dtype": "bfloat16"})).scores(image, classes)
    assert torch.equal(own, half)
    assert not torch.equal(own, exact)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("weight", np.float32, "the tensor weight holds F32, and a saved probe has F64"),
        ("weight", np.int64, "the tensor weight holds I64, and a saved probe has F64"),
        ("bias", np.float16, "the tensor bias holds F16, and a saved probe has F64"),
        ("classes", np.int32, "the tensor classes holds I32, and a saved probe has I64"),
    ],
)
def test_weights_of_other_kinds_are_refused_when_a_run_is_planned(name, kind, message, config):
    change_tensors(
        Path(config.path, WEIGHTS),
        lambda tensors: tensors.update({name: tensors[name].astype(kind)}),
    )
    with pytest.raises(UserError, match=f"{WEIGHTS}: {message} there; make the probe again"):
        check_model(config)


@pytest.mark.parametrize("width", [1, 63, 65])
def test_weights_of_another_width_than_the_features_are_refused_when_loaded(width, config):
    change_tensors(
        Path(config.path, WEIGHTS),
        lambda tensors: tensors.update(weight=np.ones((10, width))),
    )
    with pytest.raises(
        UserError, match=rf"{WEIGHTS}: .* {width} columns, and the features of block mid .* 64 numb"
    ):
        load_model(config)
