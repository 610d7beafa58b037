"""A run over strange pictures: each has a prediction or an error, and the run ends."""

import pytest

from tests.hostile import pictures
from tests.support.tiny_models import clip_folder
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.evaluation.evaluate import run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    clip_folder(folder)
    return str(folder)


@pytest.mark.full
def test_every_picture_is_decided_or_says_why_not(model, tmp_path):
    """A strip of 120,000 pixels ended the run each time that it was resumed."""
    strip = {"strip": pictures.long()["1 x 120,000"]}
    good, bad = pictures.sound(), pictures.unknown() | pictures.broken() | strip
    for kind, named in (("good", good), ("bad", bad)):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for name, data in named.items():
            (tmp_path / "set" / kind / f"{name}.png").write_bytes(data)
    tree = {
        "model": {"family": "clip", "path": model, "device": "cpu"},
        "data": {"source": "folder", "path": str(tmp_path / "set")},
        "output": {"path": str(tmp_path / "run")},
        "tracking": {"mlflow": "off"},
    }
    config = parse_config(RunConfig, tree)
    result = run(config, local=True)
    error_of = {row["image_id"]: row["error"] for row in result.table.to_pylist()}
    assert {id_ for id_, error in error_of.items() if error is None} == {
        f"good/{name}.png" for name in good
    }
    assert len(error_of) == len(good) + len(bad)
    assert "120000 x 1 pixels are too long a picture" in error_of["bad/strip.png"]
    again = run(config, local=True).run
    assert (again.n_images, again.status) == (len(error_of), result.run.status)
