"""A rule, method, source or family typed with --set goes before another one's keys of the file."""

import warnings

import pytest

from zsd_ray.config.run import RunConfig, load_config
from zsd_ray.config.training import load_training
from zsd_ray.records.errors import UserError
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig
from zsd_ray.studies.sweeps.suite_config import SuiteConfig

DDPM = "kind: ddpm\nepochs: 1\nnetwork: {channels: [32], layers: 1}\nchain: {steps: 50}\n"


@pytest.fixture
def load(tmp_path):
    def load(kind, text, *overrides):
        path = tmp_path / "own.yaml"
        path.write_text(text)
        if kind == "train":
            return load_training(path, overrides)
        return load_config(kind, path, overrides)

    return load


@pytest.mark.parametrize(
    ("text", "overrides", "gone", "section", "expected"),
    [
        (
            "pruning: {rule: clark-jaini, min_scores: 5, indifference: 0.2}",
            ["pruning.rule=li"],
            ["pruning.min_scores"],
            "pruning",
            {"rule": "li", "indifference": 0.2, "keep": [5, 1]},
        ),
        (
            "pruning: {rule: li, keep: [5, 1], draws: [50, 500]}",
            ["pruning.rule=none"],
            ["pruning.keep", "pruning.draws"],
            "pruning",
            {"rule": "none", "draws": 100},
        ),
        (
            "pruning: {alpha: 0.05, max_draws: 40}",
            ["pruning.rule=t-test", "pruning.p_value=0.01"],
            ["pruning.alpha"],
            "pruning",
            {"rule": "t-test", "max_draws": 40, "p_value": 0.01},
        ),
        (
            "method: {weighting: simple, timesteps: uniform, t_range: [0.1, 0.9]}",
            ["method.name=noise-denoise", "method.level=0.5"],
            ["method.weighting", "method.timesteps", "method.t_range"],
            "method",
            {"name": "noise-denoise", "level": 0.5},
        ),
        (
            "method: {name: exact-likelihood, t_range: [0.1, 0.9]}",
            ["method.name=weighted-prompts"],
            [],
            "method",
            {"name": "weighted-prompts", "t_range": (0.1, 0.9)},
        ),
        (
            "data: {source: folder, path: photos, limit: 3}",
            ["data.source=digits"],
            ["data.path"],
            "data",
            {"source": "digits", "path": None, "limit": 3},
        ),
        (
            "data: {source: two-objects, task: color, limit: 3}",
            ["data.source=folder", "data.path=photos"],
            ["data.task"],
            "data",
            {"source": "folder", "path": "photos", "limit": 3},
        ),
        (
            "data: {source: cifar10, path: /data, layout: parquet}",
            ["data.source=cifar100"],
            [],
            "data",
            {"source": "cifar100", "path": "/data", "layout": "parquet"},
        ),
        (
            "model: {family: dit, path: x, labels: [a], dtype: float32}",
            ["model.family=sd3", "model.image_size=512"],
            ["model.labels"],
            "model",
            {"family": "sd3", "path": "x", "labels": None, "image_size": 512},
        ),
        (
            "model: {family: custom, path: m.py:M, kwargs: {a: 1}}",
            ["model.family=ddpm", "model.path=x"],
            ["model.kwargs"],
            "model",
            {"family": "ddpm", "path": "x", "kwargs": {}},
        ),
    ],
)
def test_keys_of_another_kind_give_way_once(load, text, overrides, gone, section, expected):
    if gone:
        with pytest.warns(UserWarning, match="gave way") as caught:
            config = load(RunConfig, text, *overrides)
        (warning,) = caught
        keys, _, choice = str(warning.message).partition(" of the file gave way to --set ")
        assert keys.split(", ") == gone
        assert choice == overrides[0]
    else:
        config = load(RunConfig, text, *overrides)  # a warning would be an error
    found = getattr(config, section).model_dump()
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "overrides", "says"),
    [
        ("pruning: {rule: li}", ["pruning.rule=t-test", "pruning.keep=[1]"], "key pruning.keep"),
        ("pruning: {rule: li, kepe: [1]}", ["pruning.rule=t-test"], "unknown key pruning.kepe"),
        ("pruning: {rule: li, alpha: 1}", ["pruning.rule=li"], "unknown key pruning.alpha"),
        ("pruning: {rule: li}", ["pruning.rule=l"], "pruning.rule: came 'l'"),
        ("data: {source: folder, path: x}", ["data.source=digits", "data.path=y"], "path"),
        ("data: {source: digits}", ["data.source=folder"], "needs a path"),
        ("data: {source: folder, path: x}", ["data.split=train"], "split says nothing"),
        ("pruning: [1]", ["pruning.rule=li"], "pruning is a value"),
    ],
)
def test_what_was_typed_is_checked(load, text, overrides, says):
    with pytest.raises(UserError, match=says):
        load(RunConfig, text, *overrides)


@pytest.mark.parametrize(
    ("kind", "text", "overrides", "gone"),
    [
        (
            SuiteConfig,
            "title: t\nmodels: {a: {}}\ndatasets: {d: {}}\nrun: {pruning: {alpha: 0.1}}",
            ["run.pruning.rule=li"],
            "run.pruning.alpha",
        ),
        (
            SuiteConfig,
            "title: t\nmodels: {a: {model: {family: dit, labels: [a]}}}\ndatasets: {d: {}}",
            ["models.a.model.family=sd3"],
            "models.a.model.labels",
        ),
        (
            ProbeConfig,
            "data: {train: {source: folder, path: x}}",
            ["data.train.source=digits"],
            "data.train.path",
        ),
        (
            GenerateConfig,
            "images: 3\nsampler: {eta: 0.5, steps: 3}",
            ["sampler.name=ddpm"],
            "sampler.eta",
        ),
        (
            FidConfig,
            "generated: {source: digits}\nextractor: {kind: inception, weights: x}",
            ["extractor.kind=clip"],
            "extractor.weights",
        ),
        ("train", DDPM, ["kind=classifier", "classes=[a, b]"], "network, chain"),
        (
            "train",
            DDPM,
            ["kind=text-to-image", "captions={names: [[a], [b]], templates: ['{}']}"],
            "epochs, network.channels, network.layers, chain",
        ),
    ],
)
def test_it_is_so_in_every_kind_of_file(load, kind, text, overrides, gone):
    with pytest.warns(UserWarning, match=f"^{gone} of the file gave way to --set {overrides[0]}"):
        load(kind, text, *overrides)


def test_nothing_gives_way_without_a_choice(load):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = load(RunConfig, "pruning: {rule: li}", "pruning.keep=[3, 1]")
    assert config.pruning.keep == [3, 1]
