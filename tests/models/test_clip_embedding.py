"""Embeddings are those of the baseline, of length 1, also of images of another size."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.models import load_model
from tests.support.tiny_models import clip_folder
from tests.support.tiny_models.clip import clip_file
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.features.clip_embedding import load_embedding
from zsd_ray.models.files.clip_files import open_clip
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    clip_folder(folder)
    return folder


def pictures(size):
    """Smooth ones, as bytes; and the same in [-1, 1]."""
    ramp = np.linspace(0, 1, size)
    waves = [np.sin(2 * np.pi * (k + 1) * np.add.outer(ramp, k * ramp)) for k in range(6)]
    stacked = np.stack([np.stack(waves[i : i + 3], axis=-1) for i in range(3)])
    as_bytes = np.round(127.5 * (stacked + 1)).astype(np.uint8)
    images = torch.from_numpy(as_bytes).permute(0, 3, 1, 2).float() / 127.5 - 1
    return [Image.fromarray(of) for of in as_bytes], images


@torch.no_grad()
def test_an_image_of_the_models_own_size_is_embedded_as_the_baseline_does(folder):
    """The baseline's scores are -100 times cosines: to unit vectors, the embedding's numbers."""
    classifier = load_model(ModelConfig(family="clip", path=str(folder), device="cpu"))
    pils, images = pictures(32)
    inputs = torch.stack([classifier.preprocess(image) for image in pils])
    theirs = classifier.scores(inputs, torch.eye(24)) / -100
    ours = load_embedding(str(folder), None, CPU, Store())(images)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(3))


@torch.no_grad()
@pytest.mark.parametrize("size", [16, 80])
def test_others_are_resized_nearly_as_the_library_resizes_pictures(folder, size):
    model, _, transform = open_clip().create_model_and_transforms(f"local-dir:{folder}")
    pils, images = pictures(size)
    inputs = torch.stack([transform(image) for image in pils])
    theirs = model.eval().encode_image(inputs, normalize=True)
    ours = load_embedding(str(folder), None, CPU, Store())(images)
    difference = (ours - theirs).norm(dim=1).max()
    apart = torch.cdist(theirs, theirs)[~torch.eye(3, dtype=bool)].min()
    assert difference < 0.05 * apart


@torch.no_grad()
def test_values_beyond_the_range_are_clipped(folder):
    embed, (_, images) = load_embedding(str(folder), None, CPU, Store()), pictures(32)
    torch.testing.assert_close(embed(5 * images), embed((5 * images).clamp(-1, 1)))


def test_an_architecture_with_a_file_of_weights_and_none(folder, tmp_path):
    _, keys = clip_file(tmp_path / "file", "embedding-clip")
    embed = load_embedding(keys["path"], keys["pretrained"], CPU, Store())
    assert embed(pictures(32)[1]).shape == (3, 24)
    with pytest.raises(UserError, match=r"set model\.pretrained"):
        load_embedding("ViT-B-32", None, CPU, Store())
