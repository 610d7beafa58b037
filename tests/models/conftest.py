"""Good folders of tiny models of each family, and copies of them to spoil."""

import shutil

import pytest

from tests.support.tiny_models import BUILDERS, CLASSIFIER_BUILDERS
from zsd_ray.config.run import ModelConfig

BUILD = {
    f"{family}-{kind}": (family, build)
    for (family, kind), build in (BUILDERS | CLASSIFIER_BUILDERS).items()
}


@pytest.fixture(scope="session")
def good_kind(tmp_path_factory):
    """A good folder of each kind with its section `model` and prompts, made when asked for."""
    made = {}

    def of(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("good") / "model"
            family, build = BUILD[kind]
            prompts, keys = build(folder)
            keys = {"family": family, "path": str(folder), "device": "cpu", **keys}
            made[kind] = folder, ModelConfig(**keys), prompts
        return made[kind]

    return of


@pytest.fixture
def copied(good_kind, tmp_path):
    """A copy of a good folder, to spoil."""

    def of(kind):
        folder, config, prompts = good_kind(kind)
        there = tmp_path / "model"
        shutil.copytree(folder, there)
        for index in there.rglob("probe.json"):
            index.write_text(index.read_text().replace(str(folder), str(there)))
        keys = {
            key: value.replace(str(folder), str(there))
            for key in ("path", "pretrained")
            if (value := getattr(config, key)) is not None
        }
        return there, config.model_copy(update=keys), prompts

    return of
