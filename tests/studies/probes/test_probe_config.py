import re
from pathlib import Path

import pytest

from zsd_ray.config.pooling import Cell, GridPooling, pooling_name
from zsd_ray.config.run import load_config, parse_config
from zsd_ray.records.errors import UserError
from zsd_ray.studies.probes.probe_config import (
    KnnConfig,
    LinearConfig,
    ProbeConfig,
    ProbesConfig,
    SaveConfig,
)

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs" / "probes").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_that_ship_are_valid(path):
    config = load_config(ProbeConfig, path)
    assert parse_config(ProbeConfig, config.model_dump(mode="json")) == config


def test_all_configurations_are_there():
    assert {path.stem for path in CONFIGS} == {
        "digits",
        "digits-ddpm",
        "cifar10-ddpm",
        "cifar10-digits",
        "sd-features",
    }


def test_every_key_is_documented():
    text = (ROOT / "docs" / "reference" / "probes.md").read_text(encoding="utf-8")
    section = text.split("## Keys")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([\w.]+)`", section, re.MULTILINE))
    keys = {name for name in ProbeConfig.model_fields if name not in ("probes", "save", "data")}
    keys |= {"data.train", "data.test"}
    for name, kind in (("linear", LinearConfig), ("knn", KnnConfig)):
        assert name in ProbesConfig.model_fields
        keys |= {f"probes.{name}.{key}" for key in kind.model_fields}
    keys |= {f"save.{key}" for key in SaveConfig.model_fields}
    assert documented == keys


def test_one_value_stands_for_a_list_of_one():
    config = parse_config(
        ProbeConfig, {"pooling": {"grid": 3}, "probes": {"linear": {"l2": 5}, "knn": {"k": 3}}}
    )
    assert config.pooling == [GridPooling(grid=3)]
    assert (config.probes.linear.l2, config.probes.knn.k) == ([5.0], [3])


def test_all_poolings_and_the_names_of_cells():
    config = parse_config(ProbeConfig, {"pooling": "all"})
    assert [pooling_name(each) for each in config.pooling] == ["mean", "max", "grid-2"]
    assert Cell(0.1, "up.0", "max").key == "0.1/up.0/max"


def test_training_images_are_of_the_training_split():
    config = parse_config(ProbeConfig, {"data": {"train": {"limit": 5}, "test": {"limit": 4}}})
    assert (config.data.train.split, config.data.test.split) == ("train", "test")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"probes": {"linear": None, "knn": None}}, "linear and knn are both null"),
        ({"timesteps": [0.1, 0.1]}, "timesteps must differ from each other"),
        ({"blocks": ["mid", "mid"]}, "blocks must differ from each other"),
        ({"pooling": ["mean", "mean"]}, "pooling must differ from each other"),
        ({"timesteps": [0.5], "save": {"t": 0.1}}, "save.t 0.1 is none of timesteps, [0.5]"),
        ({"save": {"pooling": {"grid": 2}}}, "save.pooling grid-2 is none of ['mean']"),
        (
            {"save": {"block": "mid"}, "probes": {"linear": None}},
            "save names a linear probe, and probes.linear is null",
        ),
        ({"timesteps": [1.5]}, "came 1.5; input should be less than or equal to 1"),
        ({"probes": {"linear": {"l2": 0}}}, "input should be greater than 0"),
        ({"probe": 1}, "unknown key probe; did you mean 'probes'?"),
    ],
)
def test_mistakes_are_told(tree, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse_config(ProbeConfig, tree)
