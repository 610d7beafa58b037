"""Every classifier keeps the convention, on a tiny random model in the formats that users have."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.models import (
    check_model,
    check_prompts,
    encode_prompts,
    fingerprint,
    load_model,
)
from tests.support.tiny_models import CLASSIFIER_BUILDERS
from zsd_ray.config.run import ModelConfig


@pytest.fixture(scope="module", params=sorted(CLASSIFIER_BUILDERS), ids="-".join)
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param[0]
    prompts, keys = CLASSIFIER_BUILDERS[request.param](folder)
    return ModelConfig(family=request.param[0], device="cpu", **keys), prompts


@pytest.fixture(scope="module")
def classifier(tiny):
    return load_model(tiny[0])


def pictures(*sizes):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def classes_of(classifier, config, prompts, n_templates=1):
    rows = {name: torch.from_numpy(of) for name, of in encode_prompts(config, prompts).items()}
    return classifier.classes(rows, n_templates)


def scores(classifier, classes, images):
    return classifier.scores(torch.stack([classifier.preprocess(i) for i in images]), classes)


IMAGES = pictures((40, 60), (50, 30), (200, 210))


def test_any_picture_becomes_the_input_of_one_forward(tiny, classifier):
    config, prompts = tiny
    inputs = [classifier.preprocess(image) for image in IMAGES]
    assert len({tuple(x.shape) for x in inputs}) == 1
    assert inputs[0].dtype == torch.float32
    found = scores(classifier, classes_of(classifier, config, prompts), IMAGES)
    assert found.shape == (len(IMAGES), len(prompts))
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert (found.std(dim=0) > 1e-6).all(), "the image matters"
    assert (found.std(dim=1) > 1e-6).all(), "the class matters"


@pytest.mark.few(1)
def test_an_image_or_a_class_alone_scores_as_among_others(tiny, classifier):
    config, prompts = tiny
    together = scores(classifier, classes_of(classifier, config, prompts), IMAGES)
    for row, image in enumerate(IMAGES):
        alone = scores(classifier, classes_of(classifier, config, prompts), [image])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    for column, prompt in enumerate(prompts):
        alone = scores(classifier, classes_of(classifier, config, [prompt]), IMAGES)
        torch.testing.assert_close(together[:, column], alone[:, 0], rtol=1e-4, atol=1e-5)


def test_many_prompts_are_encoded_as_each_alone(tiny):
    config, prompts = tiny
    many = encode_prompts(config, (prompts * 70)[:70])
    for name, of in many.items():
        alone = np.concatenate([encode_prompts(config, [p])[name] for p in prompts])
        assert of.dtype in (np.float32, np.int64)
        expected = alone[np.arange(70) % len(prompts)]
        np.testing.assert_allclose(of, expected, rtol=1e-4, atol=1e-5)


def test_bfloat16_follows_float32(tiny, classifier):
    config, prompts = tiny
    half = config.model_copy(update={"dtype": "bfloat16"})
    fast = load_model(half)
    exact = scores(classifier, classes_of(classifier, config, prompts), IMAGES)
    difference = (exact - scores(fast, classes_of(fast, half, prompts), IMAGES)).abs().max()
    assert 0 < difference < 0.05 * exact.abs().max()


def test_a_model_has_a_fingerprint_and_knows_its_classes(tiny):
    config, prompts = tiny
    assert check_model(config).exists()
    check_prompts(config, prompts)
    assert len(fingerprint(config)) == 32
