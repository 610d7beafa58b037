"""Pooled features, against plain loops and a forward by hand."""

import hashlib

import numpy as np
import pytest
import torch

from tests.support.models import load_model
from tests.support.tiny_models import ddpm, dit
from zsd_ray.config.pooling import Cell, GridPooling
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.draws import noise
from zsd_ray.models.conditioning.fixed_conditioning import (
    check_fixed_conditioning,
    fixed_conditioning,
)
from zsd_ray.models.features.probe_features import FeatureExtractor, pool
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError


def images(n, size=16):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "ddpm"
    ddpm(folder, num_class_embeds=None)
    return ModelConfig(family="ddpm", path=str(folder), device="cpu")


def extractor(model, timesteps, blocks=None, poolings=("mean",), seed=4, n_rows=4):
    return FeatureExtractor.load(
        resolve_model(model), "", timesteps, blocks, poolings, seed, n_rows
    )


def test_pooling_is_that_of_plain_loops():
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    means, largest = np.zeros((2, 3)), np.zeros((2, 3))
    grid = np.zeros((2, 3, 2, 2))
    for b in range(2):
        for c in range(3):
            places = x[b, c].numpy()
            means[b, c], largest[b, c] = places.mean(), places.max()
            # Parts of 5 places in 2: 0-2 and 2-4, which share the middle.
            for i, rows in enumerate((slice(0, 3), slice(2, 5))):
                for j, columns in enumerate((slice(0, 3), slice(2, 5))):
                    grid[b, c, i, j] = places[rows, columns].mean()
    np.testing.assert_allclose(pool(x, "mean"), means, atol=1e-6)
    np.testing.assert_allclose(pool(x, "max"), largest, atol=1e-6)
    np.testing.assert_allclose(pool(x, GridPooling(grid=2)), grid.reshape(2, -1), atol=1e-6)
    whole = pool(x, GridPooling(grid=8))  # of fewer places than that
    assert torch.equal(whole, x.flatten(1))


def test_features_are_those_of_a_forward_by_hand(model):
    pictures = images(3)
    found = extractor(model, [0.0, 0.35], poolings=["mean", GridPooling(grid=2)])(pictures)
    network = load_model(model)
    for t in (0.0, 0.35):
        step = int(t * 1000)
        abar = float(network.schedule.alphas_cumprod[step])
        for row, image in enumerate(pictures):
            content = hashlib.blake2b(image.numpy().tobytes(), digest_size=16).hexdigest()
            eps = torch.from_numpy(noise(4, content, range(1), (3, 16, 16)))
            x = image[None]
            if t > 0:
                x = abar**0.5 * x + (1 - abar) ** 0.5 * eps
            with torch.no_grad():
                blocks = network.features(x, torch.tensor([float(step)]), {})
            for block, of_block in blocks.items():
                mean = found[Cell(t, block, "mean")][row]
                torch.testing.assert_close(mean, of_block[0].mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)
                grid = found[Cell(t, block, "grid-2")][row]
                torch.testing.assert_close(
                    grid, pool(of_block, GridPooling(grid=2))[0], rtol=1e-4, atol=1e-5
                )
    assert [cell.block for cell in found if cell.t == 0 and cell.pooling == "mean"] == list(blocks)


def test_an_image_alone_is_as_among_others(model):
    take, pictures = extractor(model, [0.0, 0.6]), images(4)
    together = take(pictures)
    for row in range(4):
        alone = take(pictures[row : row + 1])
        for cell, of_cell in together.items():
            assert torch.equal(alone[cell][0], of_cell[row])  # bit by bit


def test_noise_depends_on_the_seed_and_the_image_alone(model):
    pictures = images(2)
    same, other = extractor(model, [0.6]), extractor(model, [0.6], seed=5)
    cell = Cell(0.6, "mid", "mean")
    assert torch.equal(same(pictures)[cell][1], same(pictures.flip(0))[cell][0])
    assert not torch.allclose(same(pictures)[cell], other(pictures)[cell], atol=1e-4)


def test_blocks_are_chosen_by_name(model):
    found = extractor(model, [0.0], blocks=["up.1", "mid"])(images(1))
    assert [cell.block for cell in found] == ["up.1", "mid"]


def test_what_each_kind_of_model_is_conditioned_on(model, tmp_path):
    assert fixed_conditioning(resolve_model(model), "") == {}
    with pytest.raises(UserError, match="is unconditional and takes none; leave prompt out"):
        check_fixed_conditioning(resolve_model(model), "two")
    _, keys = ddpm(tmp_path / "labelled")
    labelled = ModelConfig(family="ddpm", path=str(tmp_path / "labelled"), device="cpu", **keys)
    with pytest.raises(
        UserError, match="always conditioned on a label; set prompt: the name of one"
    ):
        check_fixed_conditioning(resolve_model(labelled), "")
    check_fixed_conditioning(resolve_model(labelled), "two")
    assert fixed_conditioning(resolve_model(labelled), "two")["labels"].tolist() == [2]
    dit(tmp_path / "dit")
    null = ModelConfig(family="dit", path=str(tmp_path / "dit"), device="cpu")
    check_fixed_conditioning(resolve_model(null), "")
    assert fixed_conditioning(resolve_model(null), "")["labels"].tolist() == [4]
