"""An output among the files that are read as data would be read as data the next time."""

import os
from pathlib import Path

import pytest

from zsd_ray.spec.config import RunConfig, parse_config
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.fid_config import FidConfig
from zsd_ray.spec.probe_config import ProbeConfig
from zsd_ray.spec.train_config import parse_training


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
