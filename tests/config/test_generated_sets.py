"""Configurations of generated sets and of FID: keys are documented, and what ships is valid."""

import re
from pathlib import Path
from typing import get_args

import pytest

from zsd_ray.config.run import RunConfig, load_config
from zsd_ray.config.sampler import SamplerConfig
from zsd_ray.config.training import load_training
from zsd_ray.studies.fid.fid_config import FidConfig, FidOutputConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig, GenerateOutputConfig

ROOT = Path(__file__).parents[2]


def documented(page):
    """The keys in the first column of its first table."""
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    rows = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([\w.]+)`", row.split("|")[1])}


def test_every_key_of_generate_is_documented():
    keys = set(GenerateConfig.model_fields) - {"sampler", "prompts", "output"}
    keys |= {f"sampler.{key}" for key in SamplerConfig.model_fields}
    keys |= {f"output.{key}" for key in GenerateOutputConfig.model_fields}
    assert documented("generate.md") == keys | {"prompts.classes", "prompts.templates"}


def test_every_key_of_fid_is_documented():
    keys = set(FidConfig.model_fields) - {"extractor", "output"}
    kinds = get_args(FidConfig.model_fields["extractor"].annotation)
    keys |= {f"extractor.{key}" for kind in kinds for key in kind.model_fields}
    keys |= {f"output.{key}" for key in FidOutputConfig.model_fields}
    assert documented("fid.md") == keys


@pytest.mark.parametrize(
    ("kind", "name"),
    [(GenerateConfig, "synthetic/generate"), (FidConfig, "fid"), (RunConfig, "synthetic/run")],
)
def test_what_ships_is_valid(kind, name):
    config = load_config(kind, ROOT / "configs" / f"{name}.yaml")
    assert kind.model_validate(config.model_dump(mode="json", exclude_unset=True)) == config


def test_the_synthetic_baselines_three_steps_fit_each_other():
    """What one writes the next reads, and label k is class k in all of them."""
    made = load_config(GenerateConfig, ROOT / "configs" / "synthetic" / "generate.yaml")
    training = load_training(ROOT / "configs" / "synthetic" / "train.yaml")
    run = load_config(RunConfig, ROOT / "configs" / "synthetic" / "run.yaml")
    assert training.data.path == f"{made.output.path}/images"
    assert run.model.path == f"{training.output.path}/model"
    assert made.prompts.classes == training.classes == run.prompts.classes
