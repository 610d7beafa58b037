"""Captions that a text-to-image model is told: of its classes, or of the images themselves."""

import numpy as np
import pytest
import torch

from tests.support.models import load_model
from tests.training.small import TEXT_TO_IMAGE, configure, train_local
from zsd_ray.config.run import ModelConfig
from zsd_ray.config.training import AugmentConfig, CaptionConfig
from zsd_ray.data.captioned.attribute_binding import true_captions
from zsd_ray.data.captioned.two_objects import scene_of
from zsd_ray.records.errors import UserError
from zsd_ray.training.batches import TrainingImages, generators
from zsd_ray.training.caption_batches import Captions

OF_CLASSES = CaptionConfig(names=[["cat"], ["dog", "hound"]], templates=["a {}.", "{}"], dropout=0)


def images(labels=None, captions=None):
    pixels = torch.zeros(len(labels or captions), 3, 2, 2, dtype=torch.uint8)
    labels = None if labels is None else torch.tensor(labels)
    return TrainingImages(pixels, labels, AugmentConfig(), captions)


def texts_of(captions, row):
    return [captions.texts[number] for number in captions.of_image[row]]


def test_an_image_has_the_captions_of_its_class():
    captions = Captions.of(OF_CLASSES, images(labels=[1, 0, 1]), 5)
    assert texts_of(captions, 0) == ["a dog.", "dog", "a hound.", "hound"]
    assert texts_of(captions, 1) == ["a cat.", "cat"]
    assert captions.of_image[2] == captions.of_image[0]
    rows = torch.tensor([0, 1, 2]).repeat(200)
    told = captions.sample(rows, generators(0, "t", 0, range(600)))
    for row in range(3):
        assert set(told[rows == row].tolist()) == set(captions.of_image[row])
    assert [captions.texts[number] for number in captions.shown] == ["a cat.", "a dog."]


def test_an_image_has_its_own_captions():
    own = [["x", "y"], ["y"], ["z", "x", "w"]]
    captions = Captions.of(CaptionConfig(), images(captions=own), 2)
    assert [texts_of(captions, row) for row in range(3)] == own
    assert captions.texts == ["", "x", "y", "z", "w"]
    assert [captions.texts[number] for number in captions.shown] == ["x", "y"]


def test_each_caption_is_told_as_often_and_some_are_dropped():
    config = CaptionConfig(dropout=0.25)
    captions = Captions.of(config, images(captions=[["x"], ["y", "z", "x"]]), 1, config.dropout)
    n = 4000
    told = captions.sample(torch.ones(n, dtype=torch.int64), generators(0, "t", 0, range(n)))
    share = torch.bincount(told, minlength=4) / n
    assert share.tolist() == pytest.approx([0.25] * 4, abs=4 * (0.25 * 0.75 / n) ** 0.5)
    first = captions.sample(torch.zeros(n, dtype=torch.int64), generators(0, "t", 0, range(n)))
    assert set(first.tolist()) == {0, captions.of_image[0][0]}
    np.testing.assert_array_equal(first == 0, told == 0)  # dropped by chance, not by caption


TWO_OBJECTS = {
    **TEXT_TO_IMAGE,
    "network": {**TEXT_TO_IMAGE["network"], "prompt_length": 20},
    "data": {"source": "two-objects", "limit": 6},
    "captions": {},
    "augment": {},
}


@pytest.mark.full
def test_a_model_learns_from_what_is_true_of_its_images(tmp_path, monkeypatch):
    told = []
    sample = Captions.sample

    def listen(self, rows_B, rngs):
        found = sample(self, rows_B, rngs)
        told.extend(zip(rows_B.tolist(), [self.texts[n] for n in found.tolist()], strict=True))
        return found

    monkeypatch.setattr(Captions, "sample", listen)
    config = configure(tmp_path / "run", TWO_OBJECTS, captions={"dropout": 0.5})
    result = train_local(config)
    from zsd_ray.data.dataset import choose_subset
    from zsd_ray.data.open import open_dataset

    dataset = open_dataset(config.data)
    rows = choose_subset(dataset.records, 6)
    numbers = [int(dataset.records[row].image_id.rpartition("/")[2]) for row in rows]
    assert len(told) == 6 * 8
    for row, caption in told:
        assert caption == "" or caption in true_captions(scene_of("train", numbers[row]))
    assert 10 < sum(caption == "" for _, caption in told) < 38
    model = load_model(ModelConfig(path=result.model, device="cpu"))
    assert model.image_size == 16


@pytest.mark.full
def test_other_captions_are_another_training(tmp_path, monkeypatch):
    train_local(configure(tmp_path / "run", TWO_OBJECTS))
    monkeypatch.setattr(
        "zsd_ray.data.captioned.two_objects.true_captions", lambda scene: ["a picture of things"]
    )
    with pytest.raises(UserError, match="another training configuration"):
        train_local(configure(tmp_path / "run", TWO_OBJECTS))


def test_mistakes_are_found_before_anything_starts(tmp_path):
    for words, sections in {
        "digits brings no captions of its own; set captions.names": {"data": {"source": "digits"}},
        "give both, or neither": {"captions": {"names": [["a"], ["b"]]}},
    }.items():
        with pytest.raises(UserError, match=words):
            train_local(configure(tmp_path / "run", TWO_OBJECTS, **sections))
    assert not (tmp_path / "run").exists()


def test_a_caption_is_not_cut_short(tmp_path):
    """What its end says would be lost without a word."""
    config = configure(tmp_path / "run", TWO_OBJECTS, network={"prompt_length": 16})
    with pytest.raises(UserError, match=r"prompt_length 16 is too short for the caption 'On the"):
        train_local(config)
