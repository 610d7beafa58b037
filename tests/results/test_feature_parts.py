"""Parts of features: what is written is read, by range, here and at a URL."""

import uuid

import numpy as np
import pytest

from zsd_ray.config.pooling import Cell
from zsd_ray.results.output import Output
from zsd_ray.studies.probes.feature_parts import FeatureParts

A, B = Cell(0.0, "mid", "mean"), Cell(0.25, "down.0", "grid-2")


@pytest.fixture(params=["folder", "url"])
def parts(request, tmp_path):
    place = str(tmp_path) if request.param == "folder" else f"memory://{uuid.uuid4().hex}"
    return FeatureParts(Output(place), "abc")


def write(parts, number, images, errors=()):
    rng = np.random.default_rng(number)
    features = {
        A: rng.normal(size=(len(images), 3)).astype(np.float32),
        B: rng.normal(size=(len(images), 5)).astype(np.float32),
    }
    parts.write("train", number, images, [i % 4 for i in images], features, dict(errors))
    return features


def test_cells_of_all_parts_come_back_in_order(parts):
    assert parts.written("train") == set()
    first, second = write(parts, 0, [3, 8]), write(parts, 1, [9], {"x": "torn"})
    parts.write("train", 2, [], [], {}, {"y": "away"})  # none of its images could be read
    assert parts.written("train") == {0, 1, 2}
    assert parts.written("test") == set()
    assert parts.cells("train") == [A, B]
    assert parts.errors("train", range(3)) == {"x": "torn", "y": "away"}
    for cell in (A, B):
        images, labels, features = parts.read("train", range(3), cell)
        assert images.tolist() == [3, 8, 9]
        assert labels.tolist() == [3, 0, 1]
        assert features.dtype == np.float32
        assert np.array_equal(features, np.concatenate([first[cell], second[cell]]))
