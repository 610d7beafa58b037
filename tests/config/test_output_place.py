"""An output among the files that are read as data would be read as data the next time."""

import os
from pathlib import Path

import pytest

from tests.hostile import outputs
from tests.support.models import check_model
from zsd_ray.analysis.rescore import rescore
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.config.training import parse_training
from zsd_ray.models.features.inception import check_weights
from zsd_ray.records.errors import UserError
from zsd_ray.results.places import refuse_relative_place
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig


@pytest.mark.parametrize(
    ("data", "output"),
    [
        ("photos", "photos"),
        ("photos", "photos/run"),
        ("photos/", "./photos/../photos/run"),
        ("photos", f"{os.getcwd()}/photos/run"),
        ("~/photos", str(Path.home() / "photos/run")),
        ("s3://b/photos", "s3://b/photos/run/"),
    ],
)
@pytest.mark.parametrize("source", ["folder", "parquet"])
def test_an_output_among_the_data_is_refused(source, data, output):
    section, out = {"source": source, "path": data}, {"path": output}
    ways = [
        lambda: parse_config(RunConfig, {"data": section, "output": out}),
        lambda: parse_config(ProbeConfig, {"data": {"train": section}, "output": out}),
        lambda: parse_config(
            FidConfig, {"generated": section, "extractor": {"kind": "clip"}, "output": out}
        ),
        lambda: parse_training({"kind": "ddpm", "epochs": 1, "data": section, "output": out}),
    ]
    for way in ways:
        with pytest.raises(UserError, match=r"output\.path .* lies in data\.path"):
            way()


@pytest.mark.parametrize(
    ("data", "output"),
    [
        ({"source": "folder", "path": "photos"}, "photos-2"),
        ({"source": "folder", "path": "run/photos"}, "run"),
        ({"source": "parquet", "path": "photos/*.parquet"}, "photos/run"),
        ({"source": "cifar10", "path": "data"}, "data/run"),
        ({"source": "folder", "path": "s3://b/photos"}, "b/photos/run"),
    ],
)
def test_any_other_place_is_taken(data, output):
    config = parse_config(RunConfig, {"data": data, "output": {"path": output}})
    assert config.output.path == output


def test_what_a_run_has_saved_is_not_asked_again():
    tree = {"data": {"source": "folder", "path": "a"}, "output": {"path": "a/b"}}
    assert parse_config(RunConfig, tree, saved=True).output.path == "a/b"


def test_a_home_is_the_users_in_everything_that_is_written():
    config = parse_config(RunConfig, {"output": {"path": "~/run"}})
    assert config.output.path == str(Path.home() / "run")


NOBODY = "~nobody123/x"


@pytest.mark.parametrize("kind", [RunConfig, ProbeConfig, FidConfig, GenerateConfig])
def test_the_home_of_nobody_is_refused_where_anything_is_written(kind):
    with pytest.raises(UserError, match=r"output\.path.*~nobody123, and this machine knows no"):
        parse_config(kind, {"output": {"path": NOBODY}})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_home_of_nobody_is_refused_in_every_family(family):
    tree = {"family": family, "path": NOBODY}
    with pytest.raises(UserError, match=r"path.*give the whole path, or \./~nobody123"):
        parse_config(ModelConfig, tree)
    # What a run has saved may be of another machine, and can still be looked at.
    assert parse_config(RunConfig, {"model": tree}, saved=True).model.path == NOBODY


@pytest.mark.parametrize(
    ("kind", "key"), [("clip", "path"), ("timm", "path"), ("inception", "weights")]
)
def test_the_home_of_nobody_is_refused_of_an_extractor(kind, key):
    tree = {"generated": {"source": "digits"}, "extractor": {"kind": kind, key: NOBODY}}
    with pytest.raises(UserError, match=rf"extractor.*{key}.*give the whole path"):
        parse_config(FidConfig, tree)


@pytest.mark.parametrize(
    "use",
    [
        lambda: check_weights(NOBODY),
        lambda: check_model(ModelConfig(family="clip", path="ViT-B-32", pretrained=NOBODY)),
        lambda: check_model(ModelConfig(family="timm", path="test_vit", pretrained=NOBODY)),
        lambda: parse_config(
            RunConfig,
            {"method": {"name": "noise-denoise", "distance": "clip", "clip": {"path": NOBODY}}},
        ),
        lambda: rescore("run", output=NOBODY),
    ],
    ids=["inception", "open_clip", "timm", "distance", "rescore"],
)
def test_the_home_of_nobody_ends_no_command_in_a_traceback(use):
    with pytest.raises(UserError):
        use()


def test_a_job_of_ray_takes_the_home_of_nobody_for_relative(monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(UserError, match=r"--output ~nobody123/x is relative"):
        refuse_relative_place("--output", NOBODY)


MEMORY = "memory://x/run"


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (RunConfig, {}),
        (ProbeConfig, {}),
        (FidConfig, {"generated": {"source": "digits"}, "extractor": {"kind": "clip"}}),
        (GenerateConfig, {"images": 4}),
    ],
)
def test_an_output_that_ends_with_the_process_is_refused(kind, more):
    with pytest.raises(UserError, match=r"output\.path.*memory:// ends with this process; name a"):
        parse_config(kind, {"output": {"path": MEMORY}, **more})
    assert parse_config(kind, {"output": {"path": MEMORY}, **more}, saved=True)
    if kind is RunConfig:  # what is only read may be there
        parse_config(kind, {"data": {"source": "folder", "path": MEMORY}})


def test_a_training_and_a_replay_that_end_with_the_process_are_refused(tmp_path):
    with pytest.raises(UserError, match="memory:// ends with this process"):
        parse_training({"kind": "ddpm", "epochs": 1, "output": {"path": MEMORY}})
    outputs.good_output(tmp_path / "run")
    with pytest.raises(UserError, match="--output memory:// ends with this process"):
        rescore(str(tmp_path / "run"), output=MEMORY)
