"""A family of another package, which registers it under an entry point."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zsd_ray.config.run import ModelConfig, parse_config
from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output

ROOT = Path(__file__).parents[2]
ENTRY = """
from zsd_ray.config.family import Family

FAMILY = Family(
    adapter="made_up_adapter:MadeUpAdapter",
    files="made_up_adapter:MadeUpFiles",
    about="digits, upside down in name alone",
    example="{family: made-up, path: builtin:digits}",
    takes="text",
    keys=("labels",),
)
"""
ADAPTER = """
from zsd_ray.models.adapter import Adapter, ModelFiles
from zsd_ray.models.families.stable_diffusion import StableDiffusionAdapter
from zsd_ray.models.files import source


class MadeUpFiles(ModelFiles):
    def check(self, config, store):
        return source.resolve(config, (), store)

    def fingerprint(self, folder, config, store):
        return source.fingerprint(folder)


class MadeUpAdapter(Adapter):
    def load(self, folder, config, device):
        return StableDiffusionAdapter().load(folder, config, device)

    def encode_prompts(self, folder, config, prompts, device):
        return StableDiffusionAdapter().encode_prompts(folder, config, prompts, device)
"""


@pytest.fixture
def package(tmp_path):
    """A folder as pip leaves one, and how a process is told of it."""
    folder = tmp_path / "site"
    about = folder / "made_up-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    (folder / "made_up_family.py").write_text(ENTRY)
    (folder / "made_up_adapter.py").write_text(ADAPTER)

    def run(name, *arguments):
        point = f"[zsd_ray.families]\n{name} = made_up_family:FAMILY\n"
        (about / "entry_points.txt").write_text(point)
        return subprocess.run(
            [sys.executable, "-m", "zsd_ray.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.usefixtures("a_process")
def test_a_family_of_another_package_classifies(package, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: {family: made-up}\n"
        "data: {limit: 3}\n"
        "prompts: {templates: ['a photo of the digit {}.']}\n"
        "tracking: {mlflow: off}\n"
        "output: {path: run}\n"
    )
    ended = package("made-up", "run", str(config), "--local")
    assert ended.returncode == 0, ended.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["identity_parts"]["model"]["family"] == "made-up"
    rows = Output(str(tmp_path / "run")).read_table("decisions", ["prediction", "error"], 10)
    assert rows.column("error").to_pylist() == [None] * 3
    listed = package("made-up", "models")
    assert "digits, upside down in name alone" in listed.stdout


@pytest.mark.usefixtures("a_process")
def test_a_family_with_a_name_that_is_taken_is_refused(package):
    refused = package("flux", "models")
    assert refused.returncode != 0
    assert "a package adds flux under the entry points of zsd_ray.families" in refused.stderr


def test_a_family_that_nobody_adds_is_refused():
    with pytest.raises(UserError, match="made-up"):
        parse_config(ModelConfig, {"family": "made-up"})
